"""Quality focal loss with a teacher's probabilities as labels."""

from __future__ import annotations

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy


class KDQualityFocalLoss(nn.Layer):
    """Cross-entropy with the teacher's probabilities that fades where they are met: |t - p|^beta * BCE(p, t).

    (CrossKD, arXiv 2306.11369, after the quality focal loss, arXiv 2006.04388.) The cross-entropy is the whole one, not
    what exceeds the teacher's own entropy; at p = t the factor makes it 0.

    Args:
        beta: how fast it fades.
        loss_weight: factor on the loss.
    """

    def __init__(self, beta: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.beta, self.loss_weight = beta, loss_weight

    def forward(self, pred: Tensor, soft_label: Tensor, weight: Tensor | None = None) -> Tensor:
        """The sum over logits [..., C] against the teacher's [..., C]; ``weight`` float32 [...] multiplies rows."""
        target = F.sigmoid(soft_label.detach())
        error = binary_cross_entropy(pred, target)
        rows = (error * (F.sigmoid(pred) - target).abs() ** self.beta).sum(axis=-1)
        return (rows if weight is None else rows * weight).sum() * self.loss_weight
