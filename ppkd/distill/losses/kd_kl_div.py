"""Hinton's distillation of distributions, in the form that localisation distillation uses."""

from __future__ import annotations

from typing import Literal

from paddle import Tensor, nn
from paddle.nn import functional as F

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
        ours = F.log_softmax(pred / self.T, axis=1)
        theirs = F.log_softmax(soft_label.detach() / self.T, axis=1)
        rows = (theirs.exp() * (theirs - ours)).mean(axis=1) * (self.loss_weight * self.T**2)
        if weight is not None:
            rows = rows * weight
        if self.reduction == "none":
            return rows
        if self.reduction == "sum":
            return rows.sum()
        return rows.mean() if avg_factor is None else rows.sum() / avg_factor
