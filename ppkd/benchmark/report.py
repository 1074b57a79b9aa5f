"""The table and the picture of a benchmark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ppkd.utils.atomic import atomic_open
from ppkd.utils.names import plot_text

TABLE, NUMBERS, PICTURE = "benchmark.md", "benchmark.json", "benchmark.png"


@dataclass(frozen=True)
class Line:
    """A line of the table: times in milliseconds of a batch, AP in 0..1, sizes in megabytes; None where not known."""

    model: str
    engine: str
    batch_size: int
    p50: float
    p90: float
    p99: float
    fps: float
    ap: float | None
    parameters: int | None
    gflops: float | None
    file_mb: float
    peak_mb: float | None


_COLUMNS = {
    "model": "{0.model}",
    "engine": "{0.engine}",
    "batch": "{0.batch_size}",
    "p50 ms": "{0.p50:.1f}",
    "p90 ms": "{0.p90:.1f}",
    "p99 ms": "{0.p99:.1f}",
    "images/s": "{0.fps:.1f}",
    "AP": "{0.ap:.1%}",
    "parameters": "{0.parameters:,}",
    "GFLOPs": "{0.gflops:.2f}",
    "file MB": "{0.file_mb:.1f}",
    "peak MB": "{0.peak_mb:.0f}",
}


def write_report(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Writes the table as Markdown and json, and the picture where an AP is known; returns the files."""
    texts = {TABLE: markdown(lines), NUMBERS: json.dumps([asdict(line) for line in lines], indent=1)}
    for name, text in texts.items():
        with atomic_open(folder / name) as file:
            file.write(text.encode())
    files = [folder / name for name in texts]
    return [*files, plot(lines, folder / PICTURE)] if any(line.ap is not None for line in lines) else files


def markdown(lines: Sequence[Line]) -> str:
    """A GitHub-flavoured table; ends with a newline."""
    rows = [list(_COLUMNS), ["---", "---", *["---:"] * (len(_COLUMNS) - 2)]]
    rows += [[_cell(pattern, line) for pattern in _COLUMNS.values()] for line in lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(pattern: str, line: Line) -> str:
    attribute = pattern.strip("{}").partition(":")[0].removeprefix("0.")
    return "-" if getattr(line, attribute) is None else pattern.format(line).rstrip("%").replace("|", "\\|")


def plot(lines: Sequence[Line], path: Path) -> Path:
    """AP against the median latency of one picture: a point for each model on each engine at its smallest batch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    least = min(line.batch_size for line in lines)
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    shown = [line for line in lines if line.ap is not None and line.batch_size == least]
    for engine in dict.fromkeys(line.engine for line in shown):
        own = [line for line in shown if line.engine == engine]
        axes.scatter([line.p50 for line in own], [100 * (line.ap or 0) for line in own], label=engine)
        for line in own:
            axes.annotate(
                plot_text(line.model),
                (line.p50, 100 * (line.ap or 0)),
                fontsize=8,
                xytext=(4, 4),
                textcoords="offset points",
            )
    axes.set(xlabel=f"median latency of a batch of {least}, ms", ylabel="AP, percent", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_open(path) as file:
        figure.savefig(file, format="png", dpi=120)
    pyplot.close(figure)
    return path
