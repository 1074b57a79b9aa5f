"""Loss of the generalised overlap (Rezatofighi et al., arXiv:1902.09630)."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.structures.boxes import area, paired_overlap


@register
class GIoULoss(nn.Layer):
    """1 - IoU + the part of the smallest enclosing box that neither box covers; ``loss_weight`` multiplies it.

    ``eps`` is added to the areas that divide.
    """

    def __init__(self, *, loss_weight: float = 1.0, eps: float = 1e-10):
        super().__init__()
        self.loss_weight = loss_weight
        self.eps = eps

    def forward(self, predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The sum over corner boxes ``predicted`` and ``target`` [..., 4], each times ``weight`` float32 [...]."""
        predicted = predicted.astype("float32")
        shared, union = paired_overlap(predicted, target)
        low = paddle.minimum(predicted[..., :2], target[..., :2])
        high = paddle.maximum(predicted[..., 2:], target[..., 2:])
        around = area(paddle.concat([low, high], axis=-1)) + self.eps
        union = union + self.eps
        error = 1 - shared / union + (around - union) / around
        return (error * weight).sum() * self.loss_weight
