"""The plots of studies: gains with their intervals, and the curves of pilots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ppkd.study.gains import GAIN, LOSS, NEITHER, Gain
from ppkd.utils.atomic import atomic_open
from ppkd.utils.names import plot_text

COLOURS = {GAIN: "#2c7a4b", LOSS: "#b23a3a", NEITHER: "#6b7280"}


def plot_gains(gains: Mapping[str, Gain], output: Path, label: str) -> None:
    """Write a png: for each method its mean gain with the interval as a bar, and a ring for each seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6.5, 1.2 + 0.35 * len(gains)), layout="constrained")
    for place, gain in enumerate(reversed([*gains.values()])):
        colour = COLOURS[gain.word]
        width = gain.half_width if math.isfinite(gain.half_width) else None
        axis.plot(gain.values, [place] * len(gain.values), "o", markersize=5, markerfacecolor="none", color="#9aa3ad")
        axis.errorbar(gain.mean, place, xerr=width, fmt="D", markersize=5, capsize=3, color=colour)
    axis.set_yticks(range(len(gains)), [plot_text(name) for name in reversed([*gains])])
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel=plot_text(label))
    axis.grid(axis="x", alpha=0.3)
    with atomic_open(output) as stream:
        figure.savefig(stream, dpi=110, format="png")
    pyplot.close(figure)


def plot_pilots(curves: Mapping[str, Sequence[tuple[int, float]]], output: Path) -> None:
    """Write a png: a line for each candidate through its (epochs, AP in percent), the first one thick and black."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6.5, 4), layout="constrained")
    for place, (name, points) in enumerate(curves.items()):
        style = {"color": "black", "linewidth": 2.5} if place == 0 else {"linewidth": 1.2}
        axis.plot(*zip(*points, strict=True), marker=".", label=plot_text(name), **style)
    axis.set(xlabel="epochs", ylabel="AP of the pilots, one seed")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize="small")
    with atomic_open(output) as stream:
        figure.savefig(stream, dpi=110, format="png")
    pyplot.close(figure)
