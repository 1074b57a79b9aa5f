"""Maps are compared where the teacher's queries find objects (Chang et al., ICCV 2023, arXiv 2211.10156)."""

from __future__ import annotations

from typing import Unpack

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.level_loss import LevelLoss
from ppkd.distill.loss import Needs, Wiring
from ppkd.distill.maps import align_conv
from ppkd.distill.queries import FEATURES, LOGITS, MEMORY, require_queries
from ppkd.distill.side import Progress, Side
from ppkd.distill.wiring import as_map
from ppkd.models.layers.select import best_rows, take_rows
from ppkd.structures import DetectorSpec
from ppkd.structures.boxes import pairwise_iou
from ppkd.structures.truth import Truth

LEAST = 1e-2
EPS = 1e-12


class TargetAwareFeatureLoss(nn.Layer):
    """Mean squared difference of two maps, both multiplied by masks, summed over the masks (arXiv 2211.10156).

    Args:
        student_channels: channels of the student's map; where they differ from the teacher's, a 1x1 convolution aligns.
        teacher_channels: channels of the teacher's map.
    """

    def __init__(self, student_channels: int = 256, teacher_channels: int = 256) -> None:
        super().__init__()
        self.align = align_conv(student_channels, teacher_channels)

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, queries: Tensor) -> Tensor:
        """The loss of maps [N, C, H, W], a scalar; ``queries`` [S, N, C] make the masks, see :func:`query_masks`."""
        student = stu_feature if self.align is None else self.align(stu_feature)
        teacher = tea_feature.detach()
        weight = query_masks(teacher, queries).square().sum(axis=0)
        return (F.mse_loss(student, teacher, reduction="none").mean(axis=1) * weight).mean()


@paddle.no_grad()
def query_masks(feature: Tensor, queries: Tensor) -> Tensor:
    """How much the cells of ``feature`` [N, C, H, W] are like ``queries`` [S, N, C]: float32 [S, N, H, W].

    It is the product of a query with the cell's direction, 0.01 at least, divided by the largest of its image.
    """
    images, _, height, width = feature.shape
    cells = F.normalize(feature.flatten(2), axis=1)
    alike = paddle.matmul(queries.unsqueeze(2), cells.unsqueeze(0)).squeeze(2).clip(min=LEAST)
    return (alike / alike.max(axis=-1, keepdim=True)).reshape([-1, images, height, width])


@paddle.no_grad()
def rated_queries(features: Tensor, logits: Tensor, boxes: Tensor, truth: Truth, number: int) -> Tensor:
    """The sum of the best queries' directions, each times its quality: float32 [N, D].

    The quality of one of the ``number`` best pairs of query and class is its probability times the largest overlap with
    a box of the ground truth; in images without boxes the probability alone.

    Args:
        features: of the queries, float32 [N, Q, D].
        logits: float32 [N, Q, C].
        boxes: corners float32 [N, Q, 4] in pixels.
        truth: the ground truth.
        number: how many pairs count, all if there are not as many.
    """
    chances = F.sigmoid(logits).flatten(1)
    best = best_rows(chances, number)
    rating = paddle.take_along_axis(chances, best, axis=1, broadcast=False)
    query = best // logits.shape[-1]
    overlaps = pairwise_iou(take_rows(boxes, query), truth.boxes) * truth.real.astype("float32").unsqueeze(1)
    empty = (~truth.real.any(axis=1)).astype("float32").unsqueeze(1)
    quality = rating * paddle.maximum(overlaps.max(axis=-1), empty)
    return (F.normalize(take_rows(features, query), axis=-1, epsilon=EPS) * quality.unsqueeze(-1)).sum(axis=1)


@register
class DETRDistillFeatures(LevelLoss):
    """:class:`TargetAwareFeatureLoss` on every level of the memory, with a mask for every decoder layer of the teacher.

    It is the paper's target-aware feature distillation. A mask tells how much the cells of the teacher's memory are
    like its best queries, of which those count most that overlap with objects (:func:`rated_queries`). The published
    code has besides a contrastive loss of matched queries, which is left out.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        number: how many pairs of query and class make a mask.
        wiring: see :class:`Wiring`. The weight 20 is that of NVIDIA TAO for RT-DETR, which has one mask for all layers.

    Raises:
        SpecError: one of the two records no queries, or not the maps that they look at.
    """

    paper = "2211.10156"
    needs_truth = True
    default_weight = 20.0

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        number: int = 100,
        **wiring: Unpack[Wiring],
    ) -> None:
        require_queries(type(self).__name__, student, teacher)
        needs = Needs(teacher=("boxes",))
        super().__init__(student, teacher, consumes=[MEMORY, FEATURES], needs=needs, **wiring)
        self.number = number
        self.formulas = nn.LayerList([TargetAwareFeatureLoss(*channels) for channels in self.channels[MEMORY]])

    @property
    def level_strides(self) -> list[int]:
        """The strides of the paired levels."""
        return [pair.stride for pair in self.pairs[MEMORY]]

    def values(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> list[Tensor]:
        """The formula's value for each level."""
        record = teacher.record
        stages = zip(record[FEATURES], record[LOGITS], teacher.boxes(), strict=True)
        queries = paddle.stack([rated_queries(*stage, truth, self.number) for stage in stages])
        return [
            formula(as_map(student.record[MEMORY][pair.student]), as_map(record[MEMORY][pair.teacher]), queries)
            for formula, pair in zip(self.formulas, self.pairs[MEMORY], strict=True)
        ]
