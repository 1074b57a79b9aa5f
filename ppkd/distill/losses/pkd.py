"""PKD: distillation by the Pearson correlation of features (Cao et al., NeurIPS 2022, arXiv 2207.02039)."""

from __future__ import annotations

from collections.abc import Sequence

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.losses.level_wise import LevelWise, feature_norm
from ppkd.distill.schedule import WeightSchedule
from ppkd.structures import Batch, DetectorSpec
from ppkd.utils.errors import SpecError


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
        if student_channels != teacher_channels:
            raise SpecError(
                f"PKD has no adapter: it compares maps of equally many channels, not {student_channels} (student) with "
                f"{teacher_channels} (teacher). FGD, MGD, CWD and Mimic align channels."
            )
        self.normalize, self.loss_weight, self.resize_stu = normalize, loss_weight, resize_stu

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, batch: Batch | None = None) -> Tensor:
        """The loss of maps [N, C, H, W], whose H and W may differ, a scalar."""
        ours, theirs = stu_feature, tea_feature.detach()
        if ours.shape[2:] != theirs.shape[2:]:
            if self.resize_stu:
                ours = F.interpolate(ours, theirs.shape[2:], mode="bilinear")
            else:
                theirs = F.interpolate(theirs, ours.shape[2:], mode="bilinear")
        if self.normalize:
            ours, theirs = feature_norm(ours), feature_norm(theirs)
        return F.mse_loss(ours, theirs) * (0.5 * self.loss_weight)


@register
class PKD(LevelWise):
    """:class:`PKDFeatureLoss` on every paired level of two necks of equal channels.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        normalize: bring both maps to zero mean and unit deviation per channel.
        resize_stu: where sizes differ, resize the student's map; else the teacher's.
        strides: compare levels of these strides only; published are the four finest.
        weight: factor on the loss in the total; published are 10 for RetinaNet and 6 for Faster R-CNN.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: channels of a paired level differ.
    """

    paper = "2207.02039"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        normalize: bool = True,
        resize_stu: bool = True,
        strides: Sequence[int] | None = None,
        weight: float = 10.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        def formula(ours: int, theirs: int) -> PKDFeatureLoss:
            return PKDFeatureLoss(ours, theirs, normalize=normalize, resize_stu=resize_stu)

        try:
            super().__init__(student, teacher, formula=formula, strides=strides, weight=weight, schedule=schedule)
        except SpecError as error:
            raise SpecError(f"{student.name} from {teacher.name}: {error}") from error
