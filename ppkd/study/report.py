"""The report of a study: a table in the form of the papers', every run's figures as csv, and a plot of the gains."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ppkd.engine.hooks.results import BATCH_COST, FILE_NAME
from ppkd.report.curves import read_results
from ppkd.study.runs import Run
from ppkd.utils.atomic import atomic_open
from ppkd.utils.names import plot_text

SHOWN = ("AP", "AP50", "AP75", "APs", "APm", "APl", "mAP")
BASELINE_ROW = 1
REPORT_FILE, TABLE_FILE, PLOT_FILE = "report.md", "table.csv", "gains.png"


@dataclass(frozen=True)
class Row:
    """A line of the table: one or several runs (seeds) of the same method.

    Attributes:
        name: what the table calls it.
        runs: names of the runs.
        figures: of each run, in 0..1.
        seconds: median duration of a training step of each run, ``None`` where it was not trained here.
    """

    name: str
    runs: tuple[str, ...]
    figures: tuple[Mapping[str, float], ...]
    seconds: tuple[float | None, ...]

    @classmethod
    def of(cls, name: str, runs: Sequence[Run], figures: Mapping[str, Mapping[str, float]], folder: Path) -> Self:
        """The row of finished ``runs`` of the study at ``folder``."""
        names = tuple(run.name for run in runs)
        seconds = tuple(_step_seconds(folder / run.name) for run in runs)
        return cls(name, names, tuple(figures[name] for name in names), seconds)

    def percent(self, figure: str) -> list[float]:
        """``figure`` of each run in percent."""
        return [100 * each[figure] for each in self.figures]

    def gains(self, baseline: Row) -> list[float]:
        """Points of the first figure above the baseline's, run by run (the same seeds)."""
        headline = headings([baseline])[0]
        return [ours - theirs for ours, theirs in zip(self.percent(headline), baseline.percent(headline), strict=True)]


def headings(rows: Sequence[Row]) -> list[str]:
    """The figures that the runs have, in the order of the papers' tables."""
    return [figure for figure in SHOWN if figure in rows[0].figures[0]]


def markdown(rows: Sequence[Row]) -> str:
    """The table: means over the seeds, the gain of each method over the second row with its standard deviation."""
    figures = headings(rows)
    head = ["method", *figures, f"gain {figures[0]}", "ms / step"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    lines += [[row.name, *_cells(row, rows, figures)] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_report(rows: Sequence[Row], folder: Path, title: str) -> None:
    """Write ``report.md``, ``table.csv`` and, when there is something to compare, ``gains.png`` to ``folder``."""
    runs = max(len(row.runs) for row in rows)
    text = f"# {title}\n\n{markdown(rows)}\nFigures in percent"
    text += f", means of {runs} seeds; gains with their standard deviation.\n" if runs > 1 else ".\n"
    if len(rows) > BASELINE_ROW + 1:
        plot_gains(rows, folder / PLOT_FILE)
        text += f"\n![gains]({PLOT_FILE})\n"
    for name, content in ((REPORT_FILE, text), (TABLE_FILE, _csv(rows))):
        with atomic_open(folder / name) as stream:
            stream.write(content.encode())


def plot_gains(rows: Sequence[Row], output: Path) -> None:
    """A bar for each method's mean gain over the second row, a dot for each seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    baseline, methods = rows[BASELINE_ROW], rows[BASELINE_ROW + 1 :]
    figure, axis = pyplot.subplots(figsize=(6.5, 1.2 + 0.35 * len(methods)), layout="constrained")
    for place, row in enumerate(reversed(methods)):
        gains = row.gains(baseline)
        axis.barh(place, statistics.fmean(gains), color="#7aa6c2")
        axis.plot(gains, [place] * len(gains), "o", color="#1f3b4d", markersize=4)
    axis.set_yticks(range(len(methods)), [plot_text(row.name) for row in reversed(methods)])
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel=f"{headings(rows)[0]} above {plot_text(baseline.name)}, points")
    axis.grid(axis="x", alpha=0.3)
    figure.savefig(output, dpi=110)
    pyplot.close(figure)


def _cells(row: Row, rows: Sequence[Row], figures: Sequence[str]) -> list[str]:
    means = [f"{statistics.fmean(row.percent(figure)):.1f}" for figure in figures]
    times = [seconds for seconds in row.seconds if seconds is not None]
    return [*means, _gain(row, rows), f"{1000 * statistics.median(times):.0f}" if times else "-"]


def _gain(row: Row, rows: Sequence[Row]) -> str:
    if row in rows[: BASELINE_ROW + 1]:
        return "-"
    gains = row.gains(rows[BASELINE_ROW])
    spread = f" ± {statistics.stdev(gains):.1f}" if len(gains) > 1 else ""
    return f"{statistics.fmean(gains):+.1f}{spread}"


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    figures = list(rows[0].figures[0])
    writer.writerow(["method", "run", *figures, "seconds_per_step"])
    for row in rows:
        for run, numbers, seconds in zip(row.runs, row.figures, row.seconds, strict=True):
            writer.writerow([row.name, run, *(numbers[figure] for figure in figures), seconds])
    return text.getvalue()


def _step_seconds(folder: Path) -> float | None:
    file = folder / FILE_NAME
    if not file.is_file():
        return None
    costs = read_results(file).get(BATCH_COST)
    return statistics.median(costs) if costs else None
