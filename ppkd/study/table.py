"""Numbers and tables as the reports of studies show them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ppkd.study.gains import Gain
from ppkd.study.outcome import Row, headings

NOTHING = "-"


def points(value: float | None) -> str:
    """``24.3``; a dash where nothing was measured; never a negative zero."""
    return NOTHING if value is None else _unsigned_zero(f"{value:.1f}")


def signed(value: float) -> str:
    """``+5.4``, ``-2.7``, ``0.0``."""
    return _unsigned_zero(f"{value:+.1f}")


def spread(values: Sequence[float]) -> str:
    """The mean of ``values``, with their standard deviation when there are several."""
    if not values:
        return NOTHING
    deviation = f" ± {points(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{points(statistics.fmean(values))}{deviation}"


def interval(gain: Gain) -> str:
    """``+5.4 (+4.1 to +6.7)``; one seed has no interval."""
    if math.isinf(gain.half_width):
        return f"{signed(gain.mean)} (one seed)"
    return f"{signed(gain.mean)} ({signed(gain.low)} to {signed(gain.high)})"


def milliseconds(seconds: float | None) -> str:
    """Of a training step."""
    return NOTHING if seconds is None else f"{1000 * seconds:.0f}"


def figures_of(row: Row, rows: Sequence[Row]) -> list[str]:
    """A cell for each figure of the table: the first with its standard deviation, the others as means."""
    first, *others = headings(rows)
    means = [row.percents(figure) for figure in others]
    return [spread(row.percents(first)), *(points(statistics.fmean(each) if each else None) for each in means)]


@dataclass(frozen=True)
class Grid:
    """A table: its headings and its cells, row by row."""

    head: Sequence[str]
    cells: Sequence[Sequence[str]]


def lines_of(grid: Grid) -> str:
    """A table in GitHub's Markdown, the first column aligned left."""
    lines = [grid.head, [":---", *["---:"] * (len(grid.head) - 1)], *grid.cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _unsigned_zero(text: str) -> str:
    return text.lstrip("+-") if not float(text) else text
