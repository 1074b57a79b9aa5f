"""A table of finished runs, for the terminal and for a markdown page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class RunSummary:
    """One row: figures of merit in 0..1, ``latency_ms`` of the exported model on a CPU; None where not measured."""

    name: str
    ap: float | None = None
    ap50: float | None = None
    ap75: float | None = None
    parameters: int | None = None
    gflops: float | None = None
    latency_ms: float | None = None
    files: Path | None = None


HEADINGS = ("run", "AP", "AP50", "AP75", "parameters", "GFLOPs", "CPU ms", "files")


def _number(value: float | None, pattern: str, scale: float = 1.0) -> str:
    return "-" if value is None else pattern.format(value * scale)


def cells(run: RunSummary) -> tuple[str, ...]:
    """The texts of a row under :data:`HEADINGS`: AP in percent, parameters in millions."""
    return (
        run.name,
        _number(run.ap, "{:.1f}", 100),
        _number(run.ap50, "{:.1f}", 100),
        _number(run.ap75, "{:.1f}", 100),
        _number(run.parameters, "{:.2f} M", 1e-6),
        _number(run.gflops, "{:.2f}"),
        _number(run.latency_ms, "{:.1f}"),
        "-" if run.files is None else str(run.files),
    )


def markdown(runs: Sequence[RunSummary]) -> str:
    """The runs as a GitHub-flavoured table, figures aligned right; ends with a newline."""
    last = len(HEADINGS) - 1
    rule = ["---" if column in (0, last) else "---:" for column in range(len(HEADINGS))]
    rows = [HEADINGS, tuple(rule), *(tuple(text.replace("|", "\\|") for text in cells(run)) for run in runs)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def table(runs: Sequence[RunSummary], title: str = "") -> Table:
    """The runs as a rich table; paths wrap rather than being cut."""
    from rich.table import Table
    from rich.text import Text

    result = Table(title=title or None)
    last = len(HEADINGS) - 1
    for column, heading in enumerate(HEADINGS):
        right = column not in (0, last)
        result.add_column(heading, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for run in runs:
        result.add_row(*(Text(text) for text in cells(run)))
    return result
