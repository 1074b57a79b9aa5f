"""Loss values that stay on the device until a line is logged or a checkpoint is written."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from ppkd.utils.errors import TrainingError

WINDOW = 20
TOTAL = "loss"


class LossWindow:
    """Collects the terms of every step; reading them costs one transfer for all steps since the last reading."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, dict[str, Tensor]]] = []
        self._recent: deque[dict[str, float]] = deque(maxlen=WINDOW)
        self._sums: dict[str, float] = {}
        self._steps = 0

    def add(self, place: str, terms: Mapping[str, Tensor]) -> None:
        """Keep the scalar ``terms`` of one step; ``place`` tells the reader of an error which step it was."""
        ordered = [name for name in terms if name != TOTAL] + [TOTAL]
        self._waiting.append((place, {name: terms[name].detach() for name in ordered}))

    def read(self) -> None:
        """Fetch what waits on the device.

        Raises :class:`TrainingError` naming the first step and term that is not finite.
        """
        if not self._waiting:
            return
        tensors = [term.astype("float32").reshape([]) for _, terms in self._waiting for term in terms.values()]
        values = iter(paddle.stack(tensors).numpy().tolist())
        for place, terms in self._waiting:
            row = {name: next(values) for name in terms}
            _check_finite(place, row)
            self._recent.append(row)
            self._steps += 1
            for name, value in row.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
        self._waiting.clear()

    def medians(self) -> dict[str, float]:
        """The median of each term over the last 20 steps read, the total last."""
        names = self._recent[-1] if self._recent else {}
        return {name: float(np.median([row[name] for row in self._recent if name in row])) for name in names}

    def means(self) -> dict[str, float]:
        """The mean of each term over the steps read since :meth:`start_epoch`, the total last."""
        return {name: total / self._steps for name, total in self._sums.items()}

    def start_epoch(self) -> None:
        """Begin new means."""
        self._sums, self._steps = {}, 0

    def state(self) -> dict[str, Any]:
        """What the means of a half-done epoch need to go on."""
        return {"sums": dict(self._sums), "steps": self._steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue the means of :meth:`state`."""
        self._sums, self._steps = dict(state["sums"]), int(state["steps"])


def _check_finite(place: str, row: Mapping[str, float]) -> None:
    broken = [name for name, value in row.items() if not math.isfinite(value)]
    if broken:
        raise TrainingError(
            f"{place}: {broken[0]} is {row[broken[0]]}; nothing was saved since. Resume from the last checkpoint with "
            "a smaller LearningRate.base_lr, a longer warm-up or OptimizerBuilder.clip_grad_by_norm, and look at the "
            "boxes of the images of that step."
        )
