"""Quality focal loss (Li et al., arXiv:2006.04388, section 3.2)."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy


@register
class QualityFocalLoss(nn.Layer):
    """Cross-entropy of scores p and qualities y that fades where they agree: |y - p|^beta * BCE(p, y).

    y is the quality of the predicted box at the class of its target and 0 at all others. Without ``use_sigmoid``
    predictions are probabilities already, with it logits. ``loss_weight`` multiplies the result.
    """

    def __init__(self, *, use_sigmoid: bool = True, beta: float = 2.0, loss_weight: float = 1.0):
        super().__init__()
        self.use_sigmoid = use_sigmoid
        self.beta = beta
        self.loss_weight = loss_weight

    def forward(self, predicted: Tensor, labels: Tensor, quality: Tensor, weight: Tensor | None = None) -> Tensor:
        """The sum over ``predicted`` [..., C]; ``labels`` int64 [...], C for background; ``quality`` float32 [...].

        ``weight`` float32 [...] multiplies the rows.
        """
        predicted = predicted.astype("float32")
        wanted = F.one_hot(labels, predicted.shape[-1] + 1)[..., :-1] * quality.unsqueeze(-1)
        if self.use_sigmoid:
            error = binary_cross_entropy(predicted, wanted)
            score = F.sigmoid(predicted)
        else:
            error = F.binary_cross_entropy(predicted, wanted, reduction="none")
            score = predicted
        rows = (error * (wanted - score).abs() ** self.beta).sum(axis=-1)
        return (rows if weight is None else paddle.multiply(rows, weight)).sum() * self.loss_weight
