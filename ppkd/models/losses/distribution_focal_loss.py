"""Distribution focal loss (Li et al., arXiv:2006.04388, section 3.2)."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register


@register
class DistributionFocalLoss(nn.Layer):
    """Cross-entropy of a distribution over the bins 0, 1, ..., n with the two bins around its target.

    The bin below target y weighs floor(y) + 1 - y, the one above it y - floor(y); ``loss_weight`` multiplies the
    result.
    """

    def __init__(self, *, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The sum over ``logits`` [..., n + 1]; ``target`` float32 [...] is in 0..n, ``weight`` float32 [...]."""
        bins = paddle.arange(logits.shape[-1], dtype="float32")
        wanted = F.relu(1 - (target.unsqueeze(-1) - bins).abs())
        error = -(wanted * F.log_softmax(logits.astype("float32"), axis=-1)).sum(axis=-1)
        return (error * weight).sum() * self.loss_weight
