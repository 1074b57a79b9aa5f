"""Mimic: regress the teacher's features (Romero et al., "FitNets", ICLR 2015, arXiv 1412.6550)."""

from __future__ import annotations

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.level_wise import level_wise
from ppkd.distill.maps import align_conv, feature_norm


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

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, truth: object = None) -> Tensor:
        """The loss of maps [N, C, H, W], a scalar; ``truth`` is not read."""
        student = stu_feature if self.align is None else self.align(stu_feature)
        teacher = tea_feature.detach()
        if self.normalize:
            student, teacher = feature_norm(student), feature_norm(teacher)
        return F.mse_loss(student, teacher) * self.loss_weight


Mimic = register(level_wise(MimicFeatureLoss, notes="No setting of it is published for detectors.", paper="1412.6550"))
