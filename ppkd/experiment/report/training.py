"""The parts of a run's page on its training: figures and curves."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ppkd.engine.hooks.results import BATCH_COST
from ppkd.experiment.finished import FinishedRun
from ppkd.models import build_detector
from ppkd.report.blocks import Section, Tile, Tiles
from ppkd.report.complexity import complexity, image_size
from ppkd.report.curves import EPOCH, Columns, finite_points
from ppkd.report.plots import Panel, panels

OTHERS = (EPOCH, "step", "learning_rate", BATCH_COST)
FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "mAP")
NAMES = {"APs": "AP of small objects", "APm": "AP of medium objects", "APl": "AP of large objects"}


def summary(run: FinishedRun, figures: Mapping[str, float]) -> Section:
    """The run in numbers."""
    tiles = [_accuracy(name, figures[name], run.results) for name in FIGURES if figures.get(name, -1) >= 0]
    return Section("Summary", [Tiles([*tiles, *_size(run), *_time(run.results)])])


def curves(results: Columns) -> Section | None:
    """Every term, the learning rate and the figures over the epochs."""
    if not results:
        return None
    x = [epoch + 1 for epoch in results[EPOCH]]
    figures = {
        name: finite_points(x, [100 * y for y in results[name]])
        for name in FIGURES
        if any(y >= 0 for y in results.get(name, ()))
    }
    drawn = [Panel("average precision, %", figures, "epoch")] if figures else []
    terms = [name for name in results if name not in OTHERS and not _is_figure(name)]
    order = [*sorted(terms, key=lambda name: name != "loss"), "learning_rate"]
    drawn += [Panel(name, {name: finite_points(x, results[name])}, "epoch") for name in order]
    caption = "Figures of each evaluation, means of each epoch of the total and its weighted terms, learning rate."
    return Section("Training", [panels(drawn, caption)])


def _is_figure(name: str) -> bool:
    """Whether a column is of an evaluation, not a term of the loss."""
    return re.fullmatch(r"A[PR](\d+|[sml])?|mAP", name) is not None


def _accuracy(name: str, value: float, results: Columns) -> Tile:
    over = np.array(results.get(name, ()))
    note = ""
    if len(over) and np.isfinite(over).any():
        best = int(np.nanargmax(over))
        note = f"best {100 * over[best]:.1f} after epoch {results[EPOCH][best] + 1:.0f}"
    return Tile(NAMES.get(name, name), f"{100 * value:.1f}", note)


def _size(run: FinishedRun) -> list[Tile]:
    cfg = run.experiment.config
    height, width = image_size(cfg)
    cost = complexity(build_detector(cfg), height, width)
    return [
        Tile("Parameters", f"{cost.parameters / 1e6:.2f} M"),
        Tile("Operations", f"{cost.gflops:.2f} G", f"for {width} x {height} pixels"),
    ]


def _time(results: Columns) -> list[Tile]:
    costs, steps = results.get(BATCH_COST), results.get("step")
    if not costs or not steps:
        return []
    seconds = float(np.nansum(np.array(costs) * np.diff([0.0, *steps])))
    return [
        Tile("Training", duration(seconds), f"{steps[-1]:.0f} steps, evaluations not counted"),
        Tile("Time of a step", f"{1000 * np.nanmedian(costs):.0f} ms"),
    ]


def duration(seconds: float) -> str:
    """``2 h 05 min``, ``4 min 10 s`` or ``8.2 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
