"""Loss of the generalised overlap (Rezatofighi et al., arXiv:1902.09630)."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.structures.boxes import area, paired_overlap


def giou_distance(first: Tensor, second: Tensor, eps: float = 1e-10) -> Tensor:
    """1 - the generalised overlap of corner boxes [..., 4] one by one, [...]; the leading axes may broadcast.

    ``eps`` is added to the areas that divide.
    """
    shared, union = paired_overlap(first, second)
    low = paddle.minimum(first[..., :2], second[..., :2])
    high = paddle.maximum(first[..., 2:], second[..., 2:])
    around = area(paddle.concat([low, high], axis=-1)) + eps
    union = union + eps
    return 1 - shared / union + (around - union) / around


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
        error = giou_distance(predicted.astype("float32"), target, self.eps)
        return (error * weight).sum() * self.loss_weight
