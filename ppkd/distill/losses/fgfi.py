"""FGFI: fine-grained feature imitation (Wang et al., CVPR 2019, arXiv 1906.03609)."""

from __future__ import annotations

from collections.abc import Sequence

from paddle import Tensor, nn

from ppkd.config import register
from ppkd.distill.losses.box_cells import cells_of_anchors, centred_anchors
from ppkd.distill.losses.masked_levels import MaskedLevels, half_mean, imitation_conv, squared_error
from ppkd.distill.schedule import WeightSchedule
from ppkd.structures import DetectorSpec


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


@register
class FGFI(MaskedLevels):
    """The mean of :class:`FGFIFeatureLoss` over the paired levels of two necks; defaults are Faster R-CNN's with FPN.

    Imitated is a cell with an anchor that overlaps some box more than half as much as the level's best anchor does.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        anchor_scales: sides of a cell's anchors in strides; the paper's on one map are 8, 16 and 32.
        aspect_ratios: height / width of the anchors.
        threshold: share of the best overlap.
        by_size: a box is for one level alone, which its size decides; else it is for all, as the paper has it for its
            only level.
        relu: put a ReLU behind the adapting convolution, as in the paper's own code.
        channel_mean: take the mean over channels; else their sum, as in the paper's own code.
        strides: compare levels of these strides only.
        weight: factor on the loss in the total; the paper's own code has 0.01, for the sum over channels.
        schedule: how the weight changes with the epoch.
    """

    paper = "1906.03609"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        anchor_scales: Sequence[float] = (8.0,),
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        threshold: float = 0.5,
        by_size: bool = True,
        relu: bool = False,
        channel_mean: bool = True,
        strides: Sequence[int] | None = None,
        weight: float = 3.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        def formula(ours: int, theirs: int) -> FGFIFeatureLoss:
            return FGFIFeatureLoss(ours, theirs, relu=relu, channel_mean=channel_mean)

        super().__init__(student, teacher, formula=formula, strides=strides, weight=weight, schedule=schedule)
        self.anchor_scales, self.aspect_ratios = tuple(anchor_scales), tuple(aspect_ratios)
        self.threshold, self.by_size = threshold, by_size

    def mask(self, boxes: Tensor, chosen: Tensor, stride: int, height: int, width: int) -> Tensor:
        """The cells whose anchors are near the chosen boxes."""
        anchors = centred_anchors(stride, self.anchor_scales, self.aspect_ratios)
        return cells_of_anchors(boxes, chosen, anchors, stride, height, width, threshold=self.threshold)
