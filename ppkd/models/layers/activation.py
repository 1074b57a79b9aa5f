"""Activations in a form that every deployment path accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import paddle
from paddle import Tensor
from paddle.nn import functional as F


def leaky_relu(x: Tensor, slope: float) -> Tensor:
    """``x`` where it is positive, ``slope * x`` elsewhere; 0 < ``slope`` < 1.

    An exported program holds the maximum of the two, the same numbers bit for bit: the oneDNN predictor crashes while
    it fuses Paddle 3's ``leaky_relu`` into the convolution before it.
    """
    return F.leaky_relu(x, slope) if paddle.in_dynamic_mode() else paddle.maximum(x, slope * x)


def _of_darknet(x: Tensor) -> Tensor:
    return leaky_relu(x, 0.1)


Activation = Literal["swish", "relu", "hardswish"]
"""What configurations may choose."""

AnyActivation = Activation | Literal["leaky_relu"]
"""``leaky_relu`` has the slope 0.1 below zero, as in DarkNet."""

ACTIVATIONS: dict[AnyActivation, Callable[[Tensor], Tensor]] = {
    "swish": F.silu,
    "relu": F.relu,
    "hardswish": F.hardswish,
    "leaky_relu": _of_darknet,
}
