"""Divergences of a student's logits from a teacher's."""

from __future__ import annotations

from typing import Literal

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy

REDUCTIONS = ("none", "mean", "sum")


class KnowledgeDistillationKLDivLoss(nn.Layer):
    """T^2 KL(teacher || student) of softened distributions (Hinton et al., arXiv 1503.02531; LD, arXiv 2102.12252).

    As LD has it, a row's divergence is the **mean** over its n bins, KL / n, not the sum.

    Args:
        reduction: over rows: ``mean``, ``sum`` or ``none``.
        loss_weight: factor on the loss.
        T: temperature, 1 or more.

    Raises:
        ValueError: an unknown reduction, or a temperature below 1.
    """

    def __init__(
        self, reduction: Literal["none", "mean", "sum"] = "mean", loss_weight: float = 1.0, T: float = 10
    ) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction is {reduction!r}: give one of {', '.join(REDUCTIONS)}")
        if T < 1:
            raise ValueError(f"T is {T}: give a temperature of 1 or more")
        self.reduction, self.loss_weight, self.T = reduction, loss_weight, T

    def forward(
        self, pred: Tensor, soft_label: Tensor, weight: Tensor | None = None, avg_factor: float | Tensor | None = None
    ) -> Tensor:
        """The loss of logits (M, n) against the teacher's (M, n): a scalar, or (M,) for ``none``.

        ``weight`` (M,) multiplies rows; ``avg_factor`` replaces the number of rows under ``mean``.

        Raises:
            ValueError: ``avg_factor`` with the reduction ``sum``, which does not average.
        """
        if avg_factor is not None and self.reduction == "sum":
            raise ValueError("avg_factor replaces the number of rows of a mean; the reduction is sum")
        student = F.log_softmax(pred / self.T, axis=1)
        teacher = F.log_softmax(soft_label.detach() / self.T, axis=1)
        rows = (teacher.exp() * (teacher - student)).mean(axis=1) * (self.loss_weight * self.T**2)
        if weight is not None:
            rows = rows * weight
        if self.reduction == "none":
            return rows
        if self.reduction == "sum":
            return rows.sum()
        return rows.mean() if avg_factor is None else rows.sum() / avg_factor


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
