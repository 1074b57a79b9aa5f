"""How much a detector's loss grows without some of its channels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import paddle

from ppkd.models.detectors.detector import Detector
from ppkd.models.modes import evaluation_mode
from ppkd.models.pruning.groups import Criterion, Group
from ppkd.models.pruning.labels import Labels
from ppkd.models.pruning.search import RATIOS
from ppkd.models.pruning.trace import Channels
from ppkd.structures import Batch

_UNTOUCHED = "._variance"


@contextmanager
def silenced(detector: Detector, channels: Channels, labels: Labels) -> Iterator[None]:
    """Inside, the channels with ``labels`` are zero wherever they are made: as if they had been removed."""
    state, before = detector.state_dict(), {}
    for (name, axis), line in channels.axes.items():
        made = axis == {1: 0, 2: 1, 4: 0}[state[name].ndim] and not name.endswith(_UNTOUCHED)
        gone = np.isin(line, labels)
        if made and gone.any():
            before[name] = state[name].clone()
            shape = [1] * state[name].ndim
            shape[axis] = len(line)
            state[name].set_value(before[name] * paddle.to_tensor(~gone).reshape(shape).astype(before[name].dtype))
    try:
        yield
    finally:
        for name, value in before.items():
            state[name].set_value(value)


@paddle.no_grad()
def sensitivity(
    detector: Detector, channels: Channels, groups: Mapping[str, Group], criterion: Criterion, batches: Sequence[Batch]
) -> dict[str, list[float]]:
    """For each of ``groups`` by name the growth of the loss over ``batches``, as a share of it, at each ratio."""
    with evaluation_mode(detector):
        whole = _loss(detector, batches)
        grown: dict[str, list[float]] = {}
        for name, group in groups.items():
            grown[name] = []
            for ratio in RATIOS:
                with silenced(detector, channels, group.weakest(detector, criterion, ratio, name)):
                    grown[name].append((_loss(detector, batches) - whole) / whole)
    return grown


def _loss(detector: Detector, batches: Iterable[Batch]) -> float:
    losses = [detector(batch)["loss"].item() for batch in batches]
    mean = float(np.mean(losses))
    return mean if np.isfinite(mean) else float(np.finfo(np.float64).max) / 2
