"""Every query of the student learns from the teacher's that it matches (Chang et al., ICCV 2023, arXiv 2211.10156)."""

from __future__ import annotations

from typing import Unpack

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.loss import DistillLoss, Wiring
from ppkd.distill.queries import BOXES, LOGITS, require_queries
from ppkd.distill.side import Progress, Side
from ppkd.models.assigners.hungarian_matcher import least_cost
from ppkd.models.layers.select import take_rows
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy
from ppkd.models.losses.giou_loss import GIoULoss, giou_distance
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.transformers.queries import Answers
from ppkd.structures import DetectorSpec
from ppkd.structures.boxes import cxcywh_to_xyxy
from ppkd.structures.truth import Truth


class MatchedQueriesLoss(nn.Layer):
    """All queries of a student against all of a teacher, matched one to one at the least cost, layer by layer.

    The cost of two queries is, summed over classes and over cx, cy, w, h,

        cls_weight * BCE(s, sigmoid(t)) + bbox_weight * |s - t| + giou_weight * (1 - GIoU)

    and the loss of a layer is the mean cost of its matched queries; of a student with more queries than the teacher
    some remain without. As published it is the whole cross-entropy, which at equal logits is the teacher's entropy; its
    gradient is 0 there.

    Args:
        cls_weight: factor on the classes' part.
        bbox_weight: factor on the differences of boxes.
        giou_weight: factor on their overlaps.
    """

    def __init__(self, *, cls_weight: float = 1.0, bbox_weight: float = 5.0, giou_weight: float = 2.0) -> None:
        super().__init__()
        self.cls_weight, self.bbox_weight, self.giou_weight = cls_weight, bbox_weight, giou_weight
        self.giou = GIoULoss()

    def forward(self, student: Answers, teacher: Answers) -> Tensor:
        """A scalar, the sum over the layers, as many of the one as of the other."""
        logits, boxes = paddle.stack(student.logits), paddle.stack(student.boxes)
        soft_logits, soft_boxes = (paddle.stack(rows).detach() for rows in (teacher.logits, teacher.boxes))
        with paddle.no_grad():
            costs = self.costs(logits, boxes, soft_logits, soft_boxes)
            owner = least_cost(costs, paddle.ones([logits.shape[1], soft_logits.shape[2]], "bool"))
        matched, index = (owner >= 0).astype("float32"), owner.clip(min=0).flatten(0, 1)
        targets, wanted = (
            take_rows(rows.flatten(0, 1), index).reshape([*owner.shape, -1]) for rows in (soft_logits, soft_boxes)
        )
        classes = (binary_cross_entropy(logits, F.sigmoid(targets)).sum(axis=-1) * matched).sum()
        differences = ((boxes - wanted).abs().sum(axis=-1) * matched).sum()
        overlaps = self.giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(wanted), matched)
        total = self.cls_weight * classes + self.bbox_weight * differences + self.giou_weight * overlaps
        return total / over_batch(matched[0].sum(), least=1.0)

    def costs(self, logits: Tensor, boxes: Tensor, soft_logits: Tensor, soft_boxes: Tensor) -> Tensor:
        """What it costs that a query learns from each of the teacher's, float32 [S, N, Q, M].

        Args:
            logits: float32 [S, N, Q, C] of S layers.
            boxes: float32 [S, N, Q, 4].
            soft_logits: the teacher's, float32 [S, N, M, C].
            soft_boxes: the teacher's, float32 [S, N, M, 4].
        """
        # The cross-entropy softplus(s) - s p of all pairs as one product, so that no number is kept for each class.
        products = paddle.matmul(logits, F.sigmoid(soft_logits), transpose_y=True)
        classes = F.softplus(logits).sum(axis=-1, keepdim=True) - products
        own, other = boxes.unsqueeze(3), soft_boxes.unsqueeze(2)
        differences = (own - other).abs().sum(axis=-1)
        overlaps = giou_distance(cxcywh_to_xyxy(own), cxcywh_to_xyxy(other))
        return self.cls_weight * classes + self.bbox_weight * differences + self.giou_weight * overlaps


@register
class DETRDistill(DistillLoss):
    """:class:`MatchedQueriesLoss` between decoder layers, which pair from the last one backwards.

    It is the paper's Hungarian-matching logits distillation. Its query-prior assignment is left out: it runs the
    student's decoder on the teacher's learned queries, and detectors that select their queries have none. The matching
    is that of SciPy, for which all costs of a batch go to the host once in each step.

    Args:
        student: what the student records.
        teacher: what the teacher records, with the same classes.
        cls_weight: factor on the classes' part.
        bbox_weight: factor on the differences of boxes.
        giou_weight: factor on their overlaps.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: one of the two records no queries, with class logits under a sigmoid and boxes in shares of the
            input, or the classes differ.
    """

    paper = "2211.10156"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        cls_weight: float = 1.0,
        bbox_weight: float = 5.0,
        giou_weight: float = 2.0,
        **wiring: Unpack[Wiring],
    ) -> None:
        require_queries(type(self).__name__, student, teacher)
        super().__init__(student, teacher, consumes=[LOGITS, BOXES], kind="rows", **wiring)
        self.formula = MatchedQueriesLoss(cls_weight=cls_weight, bbox_weight=bbox_weight, giou_weight=giou_weight)

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        own, other = (Answers([], []), Answers([], []))
        for pair in self.pairs[LOGITS]:
            for side, answers, stage in ((student, own, pair.student), (teacher, other, pair.teacher)):
                answers.logits.append(side.record[LOGITS][stage])
                answers.boxes.append(side.record[BOXES][stage])
        return self.formula(own, other)
