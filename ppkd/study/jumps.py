"""Whether a training's loss jumped: rose far above its own noise, and never came down again."""

from __future__ import annotations

import re
import statistics
from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

from ppkd.config import load_config
from ppkd.experiment.folder import SLIM
from ppkd.utils.files import read_text
from ppkd.utils.logger import FILE_NAME as LOG

WINDOW = 3
"""Readings of a running median: a single one is noise."""
SPREADS, RISE = 5.0, 0.2
"""A jump is a rise by more than so many times the usual change between two readings, and by more than this part."""
TOTAL = "loss"
_LINE = re.compile(r"Epoch: \[(\d+)\] \[ *(\d+)/\d+\] learning_rate: \S+ (.*?) eta: ")
_TERM = re.compile(r"(\S+): (\S+)")


def run_jumped(folder: Path) -> bool | None:
    """Whether the loss of the task jumped in the run in ``folder``; ``None`` when it has no log of a training.

    The readings are those of the log: medians of every term over 20 steps, every ``log_iter`` steps.
    """
    slim = folder / SLIM
    distilled = load_config(str(slim)).get("losses", {}) if slim.is_file() else ()
    losses = task_losses(read_text(folder / LOG), distilled) if (folder / LOG).is_file() else []
    return jumped(losses) if losses else None


def task_losses(log: str, distilled: Collection[str]) -> list[float]:
    """The task's loss at every line of a training's ``log``: the sum of the terms that are not ``distilled``.

    A step that stands there twice, since the run was broken off and resumed before it, counts as it was last.
    """
    found = {}
    for epoch, batch, text in _LINE.findall(log):
        terms = {name: float(value) for name, value in _TERM.findall(text)}
        found[int(epoch), int(batch)] = sum(v for k, v in terms.items() if k not in distilled and k != TOTAL)
    return [found[at] for at in sorted(found)]


def jumped(losses: Sequence[float]) -> bool:
    """Whether ``losses``, in the order of training, rise somewhere and never come down again.

    With s the spread, 1.48 times the median change between two readings: a jump is where the lowest running median of
    three readings from there on is above the lowest reading before by more than 5 s and by more than a fifth.
    """
    if len(losses) <= WINDOW:
        return False
    spread = 1.4826 * statistics.median(abs(b - a) for a, b in pairwise(losses))
    smooth = [statistics.median(losses[i : i + WINDOW]) for i in range(len(losses) - WINDOW + 1)]
    lowest_from = list(accumulate(reversed(smooth), min))[::-1]
    parts = zip(accumulate(losses, min), lowest_from[1:], strict=False)
    return any(after - before > max(SPREADS * spread, RISE * before) for before, after in parts)
