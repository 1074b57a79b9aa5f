"""Loss values that stay on the device until a line is logged or a checkpoint is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

WINDOW = 20
TOTAL = "loss"


class LossWindow:
    """Collects the terms of every step; reading them costs one transfer for all steps since the last reading."""

    def __init__(self) -> None:
        self._waiting: list[dict[str, Tensor]] = []
        self._recent: deque[dict[str, float]] = deque(maxlen=WINDOW)
        self._sums: dict[str, float] = {}
        self._steps = 0

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Keep the scalar ``terms`` of one step, which are finite."""
        ordered = [name for name in terms if name != TOTAL] + [TOTAL]
        self._waiting.append({name: terms[name].detach() for name in ordered})

    def read(self) -> None:
        """Fetch what waits on the device."""
        if not self._waiting:
            return
        tensors = [term.astype("float32").reshape([]) for terms in self._waiting for term in terms.values()]
        values = iter(paddle.stack(tensors).numpy().tolist())
        for terms in self._waiting:
            row = {name: next(values) for name in terms}
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
