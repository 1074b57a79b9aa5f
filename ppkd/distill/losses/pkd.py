"""PKD: distillation by the Pearson correlation of features (Cao et al., NeurIPS 2022, arXiv 2207.02039)."""

from __future__ import annotations

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.level_wise import level_wise
from ppkd.distill.maps import feature_norm, require_equal_channels


class PKDFeatureLoss(nn.Layer):
    """Half the mean squared difference of normalised maps, 1 - Pearson correlation per channel (arXiv 2207.02039).

    Args:
        student_channels: channels of the student's map.
        teacher_channels: channels of the teacher's map, as many.
        normalize: bring both maps to zero mean and unit deviation per channel, over images and cells.
        loss_weight: factor on the loss.
        resize_stu: where sizes differ, resize the student's map to the teacher's (bilinear); else the other way round.

    Raises:
        SpecError: the numbers of channels differ, for nothing here is learnt.
    """

    def __init__(
        self,
        student_channels: int = 256,
        teacher_channels: int = 256,
        normalize: bool = True,
        loss_weight: float = 1.0,
        resize_stu: bool = True,
    ) -> None:
        super().__init__()
        mend = "choose FGD, MGD, CWD or Mimic, which align channels"
        require_equal_channels("PKD has no adapter", student_channels, teacher_channels, mend)
        self.normalize, self.loss_weight, self.resize_stu = normalize, loss_weight, resize_stu

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, truth: object = None) -> Tensor:
        """The loss of maps [N, C, H, W], whose H and W may differ, a scalar; ``truth`` is not read."""
        student, teacher = stu_feature, tea_feature.detach()
        if student.shape[2:] != teacher.shape[2:]:
            if self.resize_stu:
                student = F.interpolate(student, teacher.shape[2:], mode="bilinear")
            else:
                teacher = F.interpolate(teacher, student.shape[2:], mode="bilinear")
        if self.normalize:
            student, teacher = feature_norm(student), feature_norm(teacher)
        return F.mse_loss(student, teacher) * (0.5 * self.loss_weight)


PKD = register(
    level_wise(
        PKDFeatureLoss,
        notes="Published weights are 10 for RetinaNet and 6 for Faster R-CNN, on the four finest levels.",
        paper="2207.02039",
        weight=10.0,
    )
)
