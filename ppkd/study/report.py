"""The report of a study: ``report.md`` and ``report.html`` for people, ``report.json`` with every run, a plot."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ppkd.experiment.folder import CONFIG
from ppkd.report.blocks import Page
from ppkd.report.page import write_page
from ppkd.study.gains import Gain
from ppkd.study.outcome import Outcome, Row, headings
from ppkd.study.page import Comparison, comparison_page, links_page
from ppkd.study.plot import plot_gains
from ppkd.study.table import NOTHING, Grid, figures_of, interval, lines_of, milliseconds, points, signed
from ppkd.utils.atomic import atomic_open

REPORT_FILE, PAGE_FILE, NUMBERS_FILE, PLOT_FILE = "report.md", "report.html", "report.json", "gains.png"
JUMPED = "J"
LEGEND = """Figures in percent, means over the runs; ± is the standard deviation of {headline} over them. A gain is
paired by seed (the method and the student alone, same seed) and has its 95 % interval (Student's t over the seeds). It
is called a gain or a loss where the whole interval lies on that side of 0, and nothing else."""
OF_SEEDS = """{headline} of every run, in brackets the difference to the baseline's run of the same seed. {jumped}: the
loss of the task jumped and did not come down again."""


def write_links(rows: Sequence[Row], folder: Path, title: str) -> None:
    """Write the report of detectors that are not compared with each other, a chain's links."""
    figures = headings(rows)
    cells = [[row.name, *figures_of(row, rows), milliseconds(row.step_seconds)] for row in rows]
    table = Grid(["detector", *figures, "ms / step"], cells)
    text = f"# {title}\n\n{lines_of(table)}\nFigures in percent.\n"
    page = links_page(title, table, rows, folder)
    _write(folder, text, {"title": title, "rows": _numbers(rows)}, page)


def write_comparison(teacher: Row, baseline: Row, methods: Sequence[Row], folder: Path, title: str, end: str) -> None:
    """Write the report of ``methods`` against their ``baseline``; ``end`` says why no more seeds were taken."""
    rows = [teacher, baseline, *methods]
    headline = headings(rows)[0]
    gains = {row.name: gain for row in methods if (gain := row.gain(baseline, headline)) is not None}
    if gains:
        plot_gains(gains, folder / PLOT_FILE, f"{headline} above {baseline.name}, points")
    table, seeds = comparison_table(rows, gains), seed_table(baseline, methods, headline)
    legend, of_seeds = LEGEND.format(headline=headline), OF_SEEDS.format(headline=headline, jumped=JUMPED)
    spread = spread_lines(baseline, headline)
    parts = [
        f"# {title}",
        lines_of(table),
        legend,
        *([f"![gains]({PLOT_FILE})"] if gains else []),
        "## Every seed",
        lines_of(seeds),
        of_seeds,
        *spread,
        end,
    ]
    figures = Comparison(title, headline, table, gains, seeds, (legend,), (of_seeds, *spread, end))
    numbers = {"title": title, "headline": headline, "end": end, "rows": _numbers(rows), "gains": _gains(gains)}
    text = "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"
    _write(folder, text, numbers, comparison_page(figures, rows, folder))


def comparison_table(rows: Sequence[Row], gains: dict[str, Gain]) -> Grid:
    """A line for each row: its number of seeds, its figures, its gain with interval, the word for it, its time."""
    figures = headings(rows)
    head = ["method", "seeds", *figures, f"gain {figures[0]}", "shown", "ms / step"]
    cells = []
    for row in rows:
        seeds = {outcome.trial.seed for outcome in row.outcomes}
        gain = gains.get(row.name)
        shown = [interval(gain), gain.word] if gain is not None else [NOTHING, NOTHING]
        numbers = figures_of(row, rows)
        cells.append([row.name, str(len(seeds)), *numbers, *shown, milliseconds(row.step_seconds)])
    return Grid(head, cells)


def seed_table(baseline: Row, methods: Sequence[Row], headline: str) -> Grid:
    """A column for each seed, and number of threads where the study names several; a mark where the loss jumped."""
    alone = {outcome.trial.key: outcome for outcome in baseline.outcomes}
    cells = []
    for row in (baseline, *methods):
        own = {outcome.trial.key: outcome for outcome in row.outcomes}
        cells.append([row.name, *(_of_run(own.get(key), alone[key], headline) for key in alone)])
    threads = len({key[1] for key in alone}) > 1
    names = [f"{seed} ({_threads(count)})" if threads else f"{seed}" for seed, count in alone]
    return Grid(["seed", *names], cells)


def spread_lines(baseline: Row, headline: str) -> list[str]:
    """How far the runs of the baseline lie apart, if there are several: all of them, and of each number of threads."""
    by_threads: dict[int | None, list[Outcome]] = {}
    for outcome in baseline.outcomes:
        by_threads.setdefault(outcome.trial.run.threads, []).append(outcome)
    groups = {"all runs": list(baseline.outcomes)}
    if len(by_threads) > 1:
        groups |= {_threads(threads): outcomes for threads, outcomes in by_threads.items()}
    told = []
    for name, outcomes in groups.items():
        values = Row(baseline.name, tuple(outcomes)).percents(headline)
        if len(values) > 1:
            deviation, extent = points(statistics.stdev(values)), points(max(values) - min(values))
            told.append(f"{name}: standard deviation {deviation}, from lowest to highest {extent} ({len(values)} runs)")
    return [f"The spread of {baseline.name}'s {headline}: {'; '.join(told)}."] if told else []


def title_of(student: str, teacher: str) -> str:
    """Both files by name; the resolved configuration of a run by that of its folder."""
    names = [path.parent.name if path.name == CONFIG else path.stem for path in (Path(student), Path(teacher))]
    return f"{names[0]} from {names[1]}"


def _of_run(outcome: Outcome | None, alone: Outcome, headline: str) -> str:
    if outcome is None:
        return NOTHING
    own, other = outcome.figures[headline], alone.figures[headline]
    gained = f" ({signed(own - other)})" if outcome is not alone and own is not None and other is not None else ""
    return f"{points(own)}{gained}{f' {JUMPED}' if outcome.jumped else ''}"


def _threads(count: int | None) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _numbers(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [{"name": row.name, "runs": [_run(outcome) for outcome in row.outcomes]} for row in rows]


def _run(outcome: Outcome) -> dict[str, Any]:
    run, numbers = outcome.trial.run, asdict(outcome)
    del numbers["trial"]
    return {"run": run.name, "seed": outcome.trial.seed, "threads": run.threads, **numbers}


def _gains(gains: dict[str, Gain]) -> dict[str, Any]:
    """What ``report.json`` has of each gain; half a width of ``null`` is that of one seed."""
    return {
        name: {
            "values": list(gain.values),
            "mean": gain.mean,
            "half_width": gain.half_width if math.isfinite(gain.half_width) else None,
            "shown": gain.word,
        }
        for name, gain in gains.items()
    }


def _write(folder: Path, text: str, numbers: dict[str, Any], page: Page) -> None:
    content = json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False)
    for name, written in ((REPORT_FILE, text), (NUMBERS_FILE, content)):
        with atomic_open(folder / name) as stream:
            stream.write(written.encode())
    write_page(page, folder / PAGE_FILE)
