"""Number formats of a training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import paddle
from paddle import Tensor, _C_ops

from ppkd.models.casting import Level, LowDType, low_precision
from ppkd.utils.logger import get_logger

INITIAL_SCALE = 1024.0
GROW_EVERY = 2000
FACTOR = 2.0

logger = get_logger(__name__)


class Precision:
    """Forward and backward in float32."""

    def casting(self) -> AbstractContextManager[Any]:
        """Where a network's forward pass runs."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of ``loss`` to those of the parameters."""
        loss.backward()

    def finite(self, gradients: Sequence[Tensor]) -> Tensor:
        """Whether all ``gradients``, none of them changed, are finite: a bool that stays on the device.

        The sum of all numbers is read instead of each: it is finite only if they are. Finite numbers whose sum is not
        are beyond 1e30, and no step to take either.
        """
        return paddle.isfinite(paddle.add_n([gradient.sum() for gradient in gradients]))

    def after_step(self) -> None:
        """Tell that gradients were finite."""

    def relax(self) -> bool:
        """Tell that gradients were not finite; whether the loss's scale is the likely reason and was lowered."""
        return False

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state`."""


class MixedPrecision(Precision):
    """Networks compute in ``dtype``; parameters, gradients of parameters, losses and the update are float32.

    See :func:`ppkd.models.casting.low_precision` for what is cast at each level.
    """

    def __init__(self, dtype: LowDType, level: Level) -> None:
        self._dtype = dtype
        self._level = level

    def casting(self) -> AbstractContextManager[Any]:
        """Where a network's forward pass runs."""
        return low_precision(self._dtype, self._level)


class ScaledPrecision(MixedPrecision):
    """float16, whose smallest numbers need the loss to be multiplied before the backward pass.

    The scale is halved when gradients overflow, and doubled after ``GROW_EVERY`` steps without (Micikevicius et al.,
    "Mixed Precision Training", arXiv:1710.03740, section 3.2). Paddle's own scaler works on a GPU only and does not
    tell whether a step was left out.
    """

    def __init__(self, level: Level) -> None:
        super().__init__("float16", level)
        self.scale = INITIAL_SCALE
        self._since = 0

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the scaled ``loss`` to those of the parameters."""
        (loss * self.scale).backward()

    def finite(self, gradients: Sequence[Tensor]) -> Tensor:
        """Divide ``gradients`` by the scale; whether all are finite, a bool that stays on the device."""
        _, found = _C_ops.check_finite_and_unscale_(list(gradients), paddle.full([1], self.scale))
        return found.logical_not().squeeze()

    def after_step(self) -> None:
        """Count the step; double the scale when it is time."""
        self._since += 1
        if self._since == GROW_EVERY:
            self.scale, self._since = self.scale * FACTOR, 0

    def relax(self) -> bool:
        """Halve the scale, unless it is 1 already: then it is not the reason."""
        self._since = 0
        if self.scale <= 1.0:
            return False
        self.scale = max(self.scale / FACTOR, 1.0)
        logger.info("float16: gradients overflowed, the step is left out and the loss's scale is now %g", self.scale)
        return True

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"scale": self.scale, "since": self._since}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state`; a run that did not scale before starts with the usual scale."""
        if state:
            self.scale, self._since = float(state["scale"]), int(state["since"])


def choose(*, amp: bool, level: Level, dtype: LowDType | None, gpu: bool) -> Precision:
    """The precision that the flags ask for, float16 without a ``dtype``; on a CPU always float32.

    Paddle 3.3 has no eager kernels of 16 bits for a CPU, and its automatic casting does nothing there.
    """
    if not amp:
        return Precision()
    if not gpu:
        logger.info("--amp does nothing on a CPU, where Paddle has no arithmetic of 16 bits: computing in float32")
        return Precision()
    chosen: LowDType = dtype or "float16"
    logger.info("Mixed precision: %s, level %s", chosen, level)
    return ScaledPrecision(level) if chosen == "float16" else MixedPrecision(chosen, level)
