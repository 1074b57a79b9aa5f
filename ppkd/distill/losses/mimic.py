"""Mimic: regress the teacher's features (Romero et al., "FitNets", ICLR 2015, arXiv 1412.6550)."""

from __future__ import annotations

from collections.abc import Sequence

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.losses.level_wise import LevelWise, align_conv, feature_norm
from ppkd.distill.schedule import WeightSchedule
from ppkd.structures import Batch, DetectorSpec


class MimicFeatureLoss(nn.Layer):
    """Mean squared difference of two maps, the student's aligned (FitNets, arXiv 1412.6550).

    Args:
        student_channels: channels of the student's map; where they differ from the teacher's, a 1x1 convolution aligns.
        teacher_channels: channels of the teacher's map.
        normalize: bring both maps to zero mean and unit deviation per channel first.
        loss_weight: factor on the loss.
    """

    def __init__(
        self,
        student_channels: int = 256,
        teacher_channels: int = 256,
        normalize: bool = True,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.normalize, self.loss_weight = normalize, loss_weight
        self.align = align_conv(student_channels, teacher_channels)

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, batch: Batch | None = None) -> Tensor:
        """The loss of maps [N, C, H, W], a scalar."""
        ours = stu_feature if self.align is None else self.align(stu_feature)
        theirs = tea_feature.detach()
        if self.normalize:
            ours, theirs = feature_norm(ours), feature_norm(theirs)
        return F.mse_loss(ours, theirs) * self.loss_weight


@register
class Mimic(LevelWise):
    """:class:`MimicFeatureLoss` on every paired level of two necks.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        normalize: bring both maps to zero mean and unit deviation per channel first.
        strides: compare levels of these strides only.
        weight: factor on the loss in the total.
        schedule: how the weight changes with the epoch.
    """

    paper = "1412.6550"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        normalize: bool = True,
        strides: Sequence[int] | None = None,
        weight: float = 1.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        def formula(ours: int, theirs: int) -> MimicFeatureLoss:
            return MimicFeatureLoss(ours, theirs, normalize=normalize)

        super().__init__(student, teacher, formula=formula, strides=strides, weight=weight, schedule=schedule)
