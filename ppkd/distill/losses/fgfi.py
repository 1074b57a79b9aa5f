"""FGFI: fine-grained feature imitation (Wang et al., CVPR 2019, arXiv 1906.03609)."""

from __future__ import annotations

from paddle import Tensor, nn

from ppkd.config import register
from ppkd.distill.cells.chosen import AnchorCells
from ppkd.distill.level_wise import level_wise
from ppkd.distill.maps import imitation_conv, squared_error
from ppkd.distill.means import half_mean


class FGFIFeatureLoss(nn.Layer):
    """sum M (A S - T)^2 / (2 sum M) of one level, A being a 3x3 convolution; 0 without cells (arXiv 1906.03609).

    The defaults are those of the version for pyramids in DeFeat's code. The paper's own code has a ReLU behind the
    convolution and sums over channels, for one map of stride 16.

    Args:
        student_channels: channels of the student's map.
        teacher_channels: channels of the teacher's map.
        relu: put a ReLU behind the convolution.
        channel_mean: take the mean over channels; else their sum.
    """

    def __init__(
        self, student_channels: int, teacher_channels: int, relu: bool = False, channel_mean: bool = True
    ) -> None:
        super().__init__()
        self.channel_mean = channel_mean
        conv = imitation_conv(student_channels, teacher_channels)
        self.adapt = nn.Sequential(conv, nn.ReLU()) if relu else nn.Sequential(conv)

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, mask: Tensor) -> Tensor:
        """The loss of maps [N, C, H, W], a scalar; ``mask`` [N, H, W] is 1 in the cells to imitate, 0 elsewhere."""
        error = squared_error(self.adapt(stu_feature), tea_feature)
        return half_mean(error, mask, tea_feature.shape[1] if self.channel_mean else 1)


FGFI = register(
    level_wise(
        FGFIFeatureLoss,
        notes="The mean over the levels. The defaults are those of Faster R-CNN on a pyramid. The paper's own code has,\n"
        "for one map, anchors of 8, 16, 32 strides, boxes of all sizes, ``relu``, no ``channel_mean`` and weight 0.01.",
        paper="1906.03609",
        weight=3.0,
        cells=AnchorCells,
        mean=True,
    )
)
