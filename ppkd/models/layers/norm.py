"""Batch normalisation as the detectors configure it."""

from __future__ import annotations

from typing import Literal

from paddle import ParamAttr, nn
from paddle.regularizer import L2Decay

NormType = Literal["bn", "sync_bn"]
"""Both are the same layer here; the trainer converts it to its synchronised form when several devices take part."""


def batch_norm(channels: int, *, decay: float = 0.0, frozen: bool = False, lr: float = 1.0) -> nn.BatchNorm2D:
    """Batch normalisation of [N, channels, H, W].

    ``decay`` is the weight decay of scale and shift (it replaces the optimizer's own), ``lr`` multiplies their
    learning rate. A ``frozen`` layer always uses its running statistics and trains nothing.
    """

    def attr() -> ParamAttr:
        return ParamAttr(learning_rate=0.0 if frozen else lr, regularizer=L2Decay(decay), trainable=not frozen)

    return nn.BatchNorm2D(channels, weight_attr=attr(), bias_attr=attr(), use_global_stats=True if frozen else None)


def group_norm(channels: int, *, groups: int = 32, decay: float = 0.0, frozen: bool = False) -> nn.GroupNorm:
    """Group normalisation of [N, channels, H, W]; arguments as for :func:`batch_norm`."""

    def attr() -> ParamAttr:
        return ParamAttr(learning_rate=0.0 if frozen else 1.0, regularizer=L2Decay(decay), trainable=not frozen)

    return nn.GroupNorm(groups, channels, weight_attr=attr(), bias_attr=attr())


def freeze(layer: nn.Layer) -> None:
    """Stop the gradients of all parameters of ``layer``."""
    for parameter in layer.parameters():
        parameter.stop_gradient = True
