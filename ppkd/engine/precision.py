"""Number formats of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import paddle
from paddle import Tensor

from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

INITIAL_SCALE = 1024.0

logger = get_logger(__name__)


class Precision:
    """Forward, backward and update in float32."""

    def casting(self) -> AbstractContextManager[Any]:
        """Where a forward pass runs."""
        return nullcontext()

    def update(self, loss: Tensor, optimizer: paddle.optimizer.Optimizer) -> None:
        """Backward of ``loss``, one update, gradients cleared."""
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state`."""


class MixedPrecision(Precision):
    """Level O1 on a GPU: float16 where it is safe, with loss scaling; weights stay float32."""

    def __init__(self) -> None:
        self._scaler = paddle.amp.GradScaler(init_loss_scaling=INITIAL_SCALE)

    def casting(self) -> AbstractContextManager[Any]:
        """Where a forward pass runs."""
        return paddle.amp.auto_cast(level="O1", dtype="float16")

    def update(self, loss: Tensor, optimizer: paddle.optimizer.Optimizer) -> None:
        """Backward of the scaled ``loss``; an update whose gradients overflow is left out."""
        self._scaler.scale(loss).backward()
        self._scaler.step(optimizer)
        self._scaler.update()
        optimizer.clear_grad()

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return dict(self._scaler.state_dict())

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state`."""
        if state:
            self._scaler.load_state_dict(dict(state))


def choose(*, amp: bool, level: str, gpu: bool) -> Precision:
    """The precision that the flags ask for; raises :class:`ConfigError` for a level other than O1.

    Paddle's automatic casting does nothing on a CPU, so there ``amp`` means float32, and the log says so.
    """
    if not amp:
        return Precision()
    if level != "O1":
        raise ConfigError(f"amp_level: {level} is not available, set amp_level=O1")
    if not gpu:
        logger.info("Mixed precision needs a GPU: computing in float32")
        return Precision()
    return MixedPrecision()
