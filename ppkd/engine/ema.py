"""Exponential moving average of a model's weights and buffers."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppkd.utils.errors import ConfigError

RAMP_STEPS = 2000


def _threshold(decay: float, updates: int) -> float:
    return min(decay, (1 + updates) / (10 + updates))


def _exponential(decay: float, updates: int) -> float:
    return decay * (1 - math.exp(-(updates + 1) / RAMP_STEPS))


def _normal(decay: float, updates: int) -> float:
    return decay


DECAYS: Mapping[str, Callable[[float, int], float]] = {
    "threshold": _threshold,
    "normal": _normal,
    "exponential": _exponential,
}


class ModelEMA:
    """The average weights of a model, buffers included: after update t, a = d_t a + (1 - d_t) w_t from a = 0.

    What :meth:`weights` returns is ``a`` divided by the sum of all weights in it, 1 - d_1 d_2 ... d_t, so that it is a
    true mean from the first update on (Kingma and Ba, "Adam", section 3). PaddleDetection divides by 1 - d_t^t, which
    is the same for a constant decay and differs by under 2 percent within the first ten updates otherwise.

    Args:
        model: the model whose ``state_dict()`` is averaged; never a teacher.
        decay: the limit of d_t.
        black_list: parts of names; what has one of them in its name keeps its present value, as PaddleDetection's
            ``ema_black_list`` says of PP-YOLOE's distances, which never train.
        decay_type: how d_t grows: ``threshold`` min(decay, (1 + t) / (10 + t)), ``exponential``
            decay (1 - exp(-(t + 1) / 2000)), ``normal`` constant; t counts updates from 0.
    """

    def __init__(
        self,
        model: nn.Layer,
        *,
        decay: float = 0.9998,
        decay_type: str = "threshold",
        black_list: Collection[str] = (),
    ) -> None:
        if decay_type not in DECAYS:
            raise ConfigError(f"ema_decay_type: expected one of {', '.join(DECAYS)}, not '{decay_type}'")
        self._model = model
        self._decay = decay
        self._grow = DECAYS[decay_type]
        self._averages = {name: paddle.zeros_like(tensor) for name, tensor in model.state_dict().items()}
        self._copied = {
            name
            for name, tensor in self._averages.items()
            if not paddle.is_floating_point(tensor) or any(part in name for part in black_list)
        }
        self._updates = 0
        self._remainder = 1.0

    @paddle.no_grad()
    def update(self) -> None:
        """Take the model's present weights into the average; integer buffers and the black list are copied."""
        decay = self._grow(self._decay, self._updates)
        self._updates += 1
        self._remainder *= decay
        for name, tensor in self._model.state_dict().items():
            average = self._averages[name]
            if name in self._copied:
                average.set_value(tensor)
            else:
                average.lerp_(tensor, 1.0 - decay)

    def weights(self) -> dict[str, np.ndarray]:
        """The averaged ``state_dict()`` as arrays; the model's own one before the first update."""
        if not self._updates:
            return {name: tensor.numpy() for name, tensor in self._model.state_dict().items()}
        share = np.float32(1.0 - self._remainder)
        averages = {name: average.numpy() for name, average in self._averages.items()}
        return {name: average if name in self._copied else average / share for name, average in averages.items()}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model carries the averaged weights inside and its own ones, bit for bit, afterwards."""
        state = self._model.state_dict()
        own = {name: tensor.numpy() for name, tensor in state.items()}
        _assign(state, self.weights())
        try:
            yield
        finally:
            _assign(state, own)

    def state(self) -> dict[str, Any]:
        """What a resumed run needs: plain arrays and numbers."""
        averages = {name: average.numpy() for name, average in self._averages.items()}
        return {"averages": averages, "updates": self._updates, "remainder": self._remainder}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state` returned."""
        _assign(self._averages, state["averages"])
        self._updates = int(state["updates"])
        self._remainder = float(state["remainder"])


def _assign(tensors: Mapping[str, paddle.Tensor], arrays: Mapping[str, np.ndarray]) -> None:
    for name, tensor in tensors.items():
        tensor.set_value(arrays[name])
