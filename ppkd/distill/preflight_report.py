"""The tables of the preflight as plain text, for the console and the log file alike."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ppkd.distill.level_wise import LevelWise
from ppkd.structures import Record

if TYPE_CHECKING:
    from paddle import nn
    from rich.table import Table

    from ppkd.distill.effects import Effect
    from ppkd.distill.loss import DistillLoss

WIDTH = 120
MAIN_LEVELS = 2


def pair_table(losses: Mapping[str, DistillLoss], student: Record, teachers: Mapping[str, Record]) -> str:
    """One row for every pair of levels that a loss compares: its stride, both shapes, and what is trained for it.

    ``teachers`` holds, for each loss, the record of the teacher that it learns from.
    """
    table = _table("loss", "type", "entry", "stride", "student", "teacher", "adapter")
    for name, loss in losses.items():
        adapters = _adapters(loss)
        pairs = [(entry, pair) for entry in loss.consumes for pair in loss.pairs.get(entry, ())]
        for row, (entry, pair) in enumerate(pairs):
            levels = student[entry][pair.student], teachers[name][entry][pair.teacher]
            shapes = [str(list(level.shape)) for level in levels]
            adapter = adapters[row] if len(adapters) == len(pairs) else adapters[0] if row == 0 else ""
            title = (name, type(loss).__name__) if row == 0 else ("", "")
            table.add_row(*title, entry, str(pair.stride or "-"), *shapes, adapter)
        if not pairs:
            table.add_row(name, type(loss).__name__, ", ".join(loss.consumes), "", "", "", adapters[0])
    return _text(table)


def term_table(
    task: Mapping[str, float],
    distilled: Mapping[str, float],
    weights: Mapping[str, float],
    effects: Mapping[str, Effect],
) -> str:
    """One row for every loss term: its value, weighted, its weight, and what it does to the student.

    That is its gradient on the neck as a multiple of that of the task's losses and their cosine, the strides that most
    of its value comes from, and its most concentrated attention.
    """
    table = _table("term", "value", "weight", "gradient", "cosine", "from strides", "attention")
    for name, value in task.items():
        table.add_row(name, f"{value:.6g}", *[""] * 5)
    for name, value in distilled.items():
        effect = effects.get(name)
        cells = [""] * 4 if effect is None else _effect(effect)
        table.add_row(name, f"{value:.6g}", f"{weights[name]:.4g}", *cells)
    return _text(table)


def _effect(effect: Effect) -> list[str]:
    levels = sorted(effect.levels.items(), key=lambda item: -item[1])[:MAIN_LEVELS]
    main = max(effect.attentions, key=lambda one: one.largest / one.count, default=None)
    attention = "" if main is None else f"{main.kind} {main.largest:.3g} of {main.count} ({main.stride})"
    return [
        f"{effect.gradient:.3g} x task" if math.isfinite(effect.gradient) else "-",
        f"{effect.cosine:.2f}" if math.isfinite(effect.cosine) else "-",
        ", ".join(f"{stride}: {100 * share:.0f} %" for stride, share in levels),
        attention,
    ]


def _adapters(loss: DistillLoss) -> list[str]:
    """What each compared pair trains, or the whole loss where that is not told apart."""
    parts = list(loss.formulas) if isinstance(loss, LevelWise) else [loss]
    return [_size(part) for part in parts]


def _size(part: nn.Layer) -> str:
    trained = [parameter for parameter in part.parameters() if not parameter.stop_gradient]
    return f"{len(trained)} tensors, {sum(p.size for p in trained):,} numbers" if trained else "none"


def _table(*headings: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.ASCII)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _text(table: Table) -> str:
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=WIDTH, color_system=None).print(table)
    return text.getvalue().rstrip()
