"""Focal loss (Lin et al., arXiv:1708.02002)."""

from __future__ import annotations

from typing import Literal

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy


@register
class FocalLoss(nn.Layer):
    """Cross-entropy of sigmoid scores that fades where the score is right: -a_t (1 - p_t)^gamma log(p_t).

    a_t is ``alpha`` for the class of the anchor, 1 - ``alpha`` for all others; ``loss_weight`` multiplies the result.
    """

    def __init__(
        self,
        *,
        use_sigmoid: Literal[True] = True,
        alpha: float = 0.25,
        gamma: float = 2.0,
        loss_weight: float = 1.0,
    ):
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The sum over ``logits`` [..., C]; ``labels`` int64 [...] are C for background, negative to be left out."""
        classes = logits.shape[-1]
        wanted = F.one_hot(labels.clip(min=0), classes + 1)[..., :-1]
        logits = logits.astype("float32")
        weight = self.alpha * wanted + (1 - self.alpha) * (1 - wanted)
        miss = (F.sigmoid(logits) - wanted).abs()
        error = weight * binary_cross_entropy(logits, wanted) * miss**self.gamma
        counted = (labels >= 0).astype("float32").unsqueeze(-1)
        return (error * counted).sum() * self.loss_weight
