"""Varifocal loss (Zhang et al., arXiv:2008.13367)."""

from __future__ import annotations

from typing import Literal

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy


@register(without_effect=("use_sigmoid",))
class VarifocalLoss(nn.Layer):
    """Cross-entropy of scores p and ratings q: weighted by q at the class of a target, by alpha p^gamma elsewhere.

    The gradient passes through p^gamma too, as in PaddleDetection. ``loss_weight`` multiplies the result.
    ``use_sigmoid`` changes nothing: where PaddleDetection passes scores, their logits come here.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.75,
        gamma: float = 2.0,
        loss_weight: float = 1.0,
        iou_weighted: Literal[True] = True,
    ):
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, labels: Tensor, rating: Tensor) -> Tensor:
        """The sum over ``logits`` [..., C]; ``labels`` int64 [...], C for background; ``rating`` float32 [...]."""
        logits = logits.astype("float32")
        target = F.one_hot(labels, logits.shape[-1] + 1)[..., :-1]
        wanted = target * rating.unsqueeze(-1)
        weight = self.alpha * F.sigmoid(logits) ** self.gamma * (1 - target) + wanted
        error = binary_cross_entropy(logits, wanted)
        return (error * weight).sum() * self.loss_weight
