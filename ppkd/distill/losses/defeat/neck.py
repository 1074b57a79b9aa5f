"""DeFeat on necks: decoupled features (Guo et al., CVPR 2021, arXiv 2103.14475)."""

from __future__ import annotations

from paddle import Tensor, nn

from ppkd.config import register
from ppkd.distill.cells.chosen import InsideCells
from ppkd.distill.level_wise import level_wise
from ppkd.distill.maps import imitation_conv, require_equal_channels, squared_error
from ppkd.distill.means import half_mean


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
        if not adapt:
            require_equal_channels("DeFeat.adapt is false", student_channels, teacher_channels, "set it to true")
        self.foreground, self.background = foreground, background
        self.adapt = imitation_conv(student_channels, teacher_channels) if adapt else nn.Identity()

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, inside: Tensor) -> Tensor:
        """The loss of maps [N, C, H, W], a scalar; ``inside`` [N, H, W] is 1 in the cells of boxes, 0 elsewhere."""
        channels = tea_feature.shape[1]
        error = squared_error(self.adapt(stu_feature), tea_feature)
        foreground = half_mean(error, inside, channels)
        return self.foreground * foreground + self.background * half_mean(error, 1.0 - inside, channels)


DeFeat = register(
    level_wise(
        DeFeatFeatureLoss,
        notes="The mean over the levels; a box is inside of one level alone, which its size decides. The defaults are\n"
        "those of Faster R-CNN on VOC.",
        paper="2103.14475",
        cells=InsideCells,
        mean=True,
    )
)
