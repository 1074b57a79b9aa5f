"""What losses share that compare necks in cells which the boxes choose, apart on every level of a pyramid."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import paddle
from paddle import Tensor, nn

from ppkd.distill.loss import Context
from ppkd.distill.losses.box_levels import box_levels
from ppkd.distill.losses.level_wise import LevelWise
from ppkd.models.assigners.ground_truth import pad_truth
from ppkd.models.losses.normaliser import over_batch
from ppkd.structures import Record


class MaskedLevels(LevelWise):
    """The mean of one formula's values over the paired levels of two necks.

    The formula is called with the two maps and a mask [N, H, W] of cells, which a subclass finds from boxes: with
    ``by_size`` from those whose size suits the level, the finest for the smallest, else from all.
    """

    needs_ground_truth = True
    by_size = True

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""
        pairs = self.pairs["neck"]
        ours = [student.neck[pair.student] for pair in pairs]
        theirs = [teacher.neck[pair.teacher] for pair in pairs]
        with paddle.no_grad():
            masks = self.masks(context, [level.shape[2:] for level in ours])
        levels = zip(self.formulas, ours, theirs, masks, strict=True)
        return paddle.add_n([formula(*level) for formula, *level in levels]) / len(pairs)

    def masks(self, context: Context, sizes: Sequence[Sequence[int]]) -> list[Tensor]:
        """The mask float32 [N, H, W] of every pair of levels, of ``sizes`` (H, W)."""
        truth = pad_truth(context.batch)
        strides = [pair.stride for pair in self.pairs["neck"]]
        real, level = truth.scores > 0, box_levels(truth.boxes, len(strides))
        ranks = [sorted(strides).index(stride) for stride in strides]
        chosen = [real & (level == rank) if self.by_size else real for rank in ranks]
        levels = zip(chosen, strides, sizes, strict=True)
        return [self.mask(truth.boxes, boxes, stride, *size) for boxes, stride, size in levels]

    @abstractmethod
    def mask(self, boxes: Tensor, chosen: Tensor, stride: int, height: int, width: int) -> Tensor:
        """The mask float32 [N, height, width] of one level for ``boxes`` [N, M, 4], ``chosen`` bool [N, M]."""


def imitation_conv(student_channels: int, teacher_channels: int) -> nn.Conv2D:
    """A 3x3 convolution to the teacher's channels that starts near zero."""
    start = nn.initializer.TruncatedNormal(std=1e-4)
    return nn.Conv2D(
        student_channels,
        teacher_channels,
        3,
        padding=1,
        weight_attr=start,
        bias_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(0.0)),
    )


def squared_error(ours: Tensor, theirs: Tensor) -> Tensor:
    """Squared differences of maps [N, C, H, W] summed over channels, [N, H, W]; the teacher gets no gradient."""
    gap = ours - theirs.detach()
    return (gap * gap).sum(axis=1)


def half_mean(error: Tensor, mask: Tensor, channels: int = 1) -> Tensor:
    """Half of the mean of ``error`` [N, H, W] over the ``mask``'s cells, each counted as ``channels`` numbers.

    0 where the mask is empty.
    """
    return (error * mask).sum() / (2.0 * channels * over_batch(mask.sum())).clip(min=1.0)
