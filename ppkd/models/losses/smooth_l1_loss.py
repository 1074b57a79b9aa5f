"""Smooth L1 loss (Girshick, "Fast R-CNN", arXiv:1504.08083)."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.utils.errors import ConfigError


@register
class SmoothL1Loss(nn.Layer):
    """Quadratic below an error of ``beta``, linear above; L1 for ``beta`` 0. ``loss_weight`` multiplies the result."""

    def __init__(self, *, beta: float = 1.0, loss_weight: float = 1.0):
        super().__init__()
        if beta < 0:
            raise ConfigError(f"SmoothL1Loss.beta is {beta}: expected 0 or more.")
        self.beta = beta
        self.loss_weight = loss_weight

    def forward(self, predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The sum over ``predicted`` and ``target`` [..., K], each row times ``weight`` float32 [...]."""
        error = (predicted.astype("float32") - target).abs()
        if self.beta > 0:
            error = paddle.where(error < self.beta, 0.5 * error**2 / self.beta, error - 0.5 * self.beta)
        return (error.sum(axis=-1) * weight).sum() * self.loss_weight
