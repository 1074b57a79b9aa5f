"""The plots of pages, as :class:`ppkd.report.blocks.Plot`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ppkd.report.blocks import Plot
from ppkd.report.svg import INK, QUIET, inline, themed
from ppkd.utils.names import plot_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = Sequence[float] | np.ndarray
MOST_NAMED = 8
"""Lines that get a colour and a name each; more would be guessed at."""


@dataclass(frozen=True)
class Panel:
    """Lines over a common axis: name -> (x, y)."""

    title: str
    lines: Mapping[str, tuple[Numbers, Numbers]]
    along: str = ""
    unit: bool = False
    """Whether both axes are from 0 to 1."""
    marks: Sequence[float] = ()
    """Places on the x axis that a dashed line marks."""


def panels(panels: Sequence[Panel], caption: str) -> Plot:
    """One picture for each panel; lines beyond the eighth of a panel are thin, grey and without a name."""
    return Plot([_figure(panel.title, partial(_draw, panel=panel)) for panel in panels], caption)


def bars(names: Sequence[str], values: Sequence[float], caption: str, along: str, *, digits: int = 1) -> Plot:
    """A horizontal bar for each name, the first one on top, with its value."""

    def draw(axis: Axes) -> None:
        places = np.arange(len(names))[::-1]
        axis.barh(places, values, height=0.6, color="C0")
        axis.set_yticks(places, [plot_text(name) for name in names])
        axis.grid(axis="y", visible=False)
        axis.set(xlabel=plot_text(along))
        for place, value in zip(places, values, strict=True):
            axis.annotate(f" {value:.{digits}f}", (max(value, 0), place), va="center", fontsize=8.5)
        axis.margins(x=0.14)

    return Plot([_figure(caption, draw, (4.2, 0.7 + 0.28 * len(names)))], caption)


def histograms(panels: Mapping[str, Mapping[str, np.ndarray]], caption: str) -> Plot:
    """A picture for each title, in it an outline for each named set of numbers, as parts of the set."""

    def draw(axis: Axes, title: str, sets: Mapping[str, np.ndarray]) -> None:
        edges = np.histogram_bin_edges(np.concatenate([*sets.values()]), bins=24)
        for name, values in sets.items():
            if len(values):
                weights = np.full(len(values), 1 / len(values))
                axis.hist(
                    values, edges.tolist(), weights=weights, histtype="step", linewidth=1.6, label=plot_text(name)
                )
        axis.set(title=plot_text(title), ylabel="part of them")
        axis.legend()

    return Plot([_figure(title, partial(draw, title=title, sets=sets)) for title, sets in panels.items()], caption)


def intervals(rows: Mapping[str, tuple[float, float, Sequence[float]]], caption: str, along: str) -> Plot:
    """For each name a mean, half the width of its interval (infinite: none) and the values behind it; 0 is marked."""

    def draw(axis: Axes) -> None:
        for place, (mean, half, values) in enumerate(reversed([*rows.values()])):
            width = half if math.isfinite(half) else None
            axis.plot(values, [place] * len(values), "o", markersize=5, markerfacecolor="none", color=QUIET)
            axis.errorbar(mean, place, xerr=width, fmt="D", markersize=5, capsize=3, color="C0")
        axis.set_yticks(range(len(rows)), [plot_text(name) for name in reversed([*rows])])
        axis.axvline(0, color=INK, linewidth=0.9)
        axis.grid(axis="y", visible=False)
        axis.set(xlabel=plot_text(along), ylim=(-0.6, len(rows) - 0.4))

    return Plot([_figure(caption, draw, (5.0, 0.9 + 0.32 * len(rows)))], caption)


def _draw(axis: Axes, panel: Panel) -> None:
    named = len(panel.lines) <= MOST_NAMED
    for number, (name, (x, y)) in enumerate(panel.lines.items()):
        style = (
            {"label": plot_text(name)} if named or number == 0 else {"color": QUIET, "linewidth": 0.6, "zorder": 1.5}
        )
        few = len(x) < 2
        axis.plot(x, y, marker="o" if few else None, markersize=3, **style)
    for mark in panel.marks:
        axis.axvline(mark, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axis.set(title=plot_text(panel.title), xlabel=plot_text(panel.along) if panel.along else "")
    if panel.unit:
        axis.set(xlim=(0, 1.01), ylim=(0, 1.02))
    if len(panel.lines) > 1:
        axis.legend()


def _figure(title: str, draw: Callable[[Axes], None], size: tuple[float, float] = (3.7, 2.5)) -> str:
    """The ``<svg>``, of ``size`` in inches, of what ``draw`` does."""
    from matplotlib.figure import Figure

    with themed():
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        return inline(figure, title)
