"""DeFeat: decoupled features (Guo et al., CVPR 2021, arXiv 2103.14475)."""

from __future__ import annotations

from collections.abc import Sequence

from paddle import Tensor, nn

from ppkd.config import register
from ppkd.distill.losses.box_cells import cells_inside
from ppkd.distill.losses.masked_levels import MaskedLevels, half_mean, imitation_conv, squared_error
from ppkd.distill.schedule import WeightSchedule
from ppkd.structures import DetectorSpec
from ppkd.utils.errors import SpecError


class DeFeatFeatureLoss(nn.Layer):
    """Squared differences of one level, inside and outside of boxes apart (arXiv 2103.14475, after the authors' code).

    foreground * sum M (A S - T)^2 / (2 sum M) + background * sum (1 - M) (A S - T)^2 / (2 sum (1 - M)), where the mask
    M counts every channel and A is a 3x3 convolution. A part without cells gives 0.

    Args:
        student_channels: channels of the student's map.
        teacher_channels: channels of the teacher's map.
        adapt: put the convolution A before the comparison.
        foreground: weight of the cells inside.
        background: weight of the cells outside.

    Raises:
        SpecError: channels differ and nothing adapts them.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        adapt: bool = True,
        foreground: float = 3.0,
        background: float = 12.0,
    ) -> None:
        super().__init__()
        if not adapt and student_channels != teacher_channels:
            raise SpecError(
                f"DeFeat.adapt is false, but the maps have {student_channels} (student) and {teacher_channels} "
                "(teacher) channels: set it to true"
            )
        self.foreground, self.background = foreground, background
        self.adapt = imitation_conv(student_channels, teacher_channels) if adapt else nn.Identity()

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, inside: Tensor) -> Tensor:
        """The loss of maps [N, C, H, W], a scalar; ``inside`` [N, H, W] is 1 in the cells of boxes, 0 elsewhere."""
        channels = tea_feature.shape[1]
        error = squared_error(self.adapt(stu_feature), tea_feature)
        foreground = half_mean(error, inside, channels)
        return self.foreground * foreground + self.background * half_mean(error, 1.0 - inside, channels)


@register
class DeFeat(MaskedLevels):
    """The mean of :class:`DeFeatFeatureLoss` over the paired levels of two necks; defaults are Faster R-CNN's on VOC.

    A box is inside of one level alone, which its size decides.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        adapt: put a 3x3 convolution before the comparison.
        foreground: weight of the cells inside of boxes.
        background: weight of those outside.
        strides: compare levels of these strides only.
        weight: factor on the loss in the total.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: channels differ and nothing adapts them.
    """

    paper = "2103.14475"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        adapt: bool = True,
        foreground: float = 3.0,
        background: float = 12.0,
        strides: Sequence[int] | None = None,
        weight: float = 1.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        def formula(ours: int, theirs: int) -> DeFeatFeatureLoss:
            return DeFeatFeatureLoss(ours, theirs, adapt=adapt, foreground=foreground, background=background)

        try:
            super().__init__(student, teacher, formula=formula, strides=strides, weight=weight, schedule=schedule)
        except SpecError as error:
            raise SpecError(f"{student.name} from {teacher.name}: {error}") from error

    def mask(self, boxes: Tensor, chosen: Tensor, stride: int, height: int, width: int) -> Tensor:
        """The cells inside of the chosen boxes."""
        return cells_inside(boxes, chosen, stride, height, width)
