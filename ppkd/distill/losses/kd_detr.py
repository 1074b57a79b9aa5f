"""KD-DETR: both decoders answer at the same places (Wang et al., CVPR 2024, arXiv 2211.08071)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Unpack

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.divergence import KnowledgeDistillationKLDivLoss
from ppkd.distill.loss import DistillLoss, Needs, Wiring
from ppkd.distill.queries import BOXES, LOGITS, MEMORY, require_queries, require_same_cells
from ppkd.distill.side import Progress, Side
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.normaliser import over_batch, sum_over_batch
from ppkd.structures import DetectorSpec, Points, Record
from ppkd.structures.boxes import cxcywh_to_xyxy
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError

EPS = 1e-6
Place = Literal["general", "specific", "student"]
PLACES: tuple[Place, ...] = ("general", "specific", "student")


class QueryAnswersLoss(nn.Layer):
    """How far a decoder layer is from a teacher's that was asked at the same places (KD-DETR, arXiv 2211.08071).

    Every place weighs w, the teacher's highest class probability there. With K the mean over classes of Hinton's
    divergence, published under a softmax although the detectors' own losses have a sigmoid, the loss is

        cls_weight * sum w K + bbox_weight * sum w |s - t| / sum w + giou_weight * sum w (1 - GIoU) / sum w

    where |s - t| is the mean over cx, cy, w, h. All sums are over all images of an update.

    Args:
        cls_weight: factor on the classes' part.
        bbox_weight: factor on the differences of boxes.
        giou_weight: factor on their overlaps.
        T: temperature of the classes.
    """

    def __init__(
        self, *, cls_weight: float = 1.0, bbox_weight: float = 5.0, giou_weight: float = 2.0, T: float = 10.0
    ) -> None:
        super().__init__()
        self.cls_weight, self.bbox_weight, self.giou_weight = cls_weight, bbox_weight, giou_weight
        self.divergence = KnowledgeDistillationKLDivLoss(reduction="sum", T=T)
        self.giou = GIoULoss()

    def forward(self, logits: Tensor, boxes: Tensor, soft_logits: Tensor, soft_boxes: Tensor) -> Tensor:
        """A scalar, of ``logits`` [N, Q, C] and ``boxes`` [N, Q, 4], cx, cy, w, h, against the teacher's."""
        soft_logits, soft_boxes = soft_logits.detach(), soft_boxes.detach()
        weight = F.sigmoid(soft_logits).max(axis=-1)
        total = over_batch(weight.sum()).clip(min=EPS)
        classes = self.divergence(logits.flatten(0, 1), soft_logits.flatten(0, 1), weight=weight.flatten())
        differences = ((boxes - soft_boxes).abs().mean(axis=-1) * weight).sum()
        overlaps = self.giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(soft_boxes), weight)
        regression = (self.bbox_weight * differences + self.giou_weight * overlaps) / total
        return self.cls_weight * sum_over_batch(classes) + regression


@register
class KDDETR(DistillLoss):
    """The student's decoder shall say what the teacher's says of the same places: :class:`QueryAnswersLoss`.

    Queries of two detectors do not correspond; so the decoders are asked at the same ``points``, each looking at its
    own memory. The loss is the sum over kinds of points and the student's layers that pair.

    * ``general``: random boxes, for each image and step anew, whose four numbers are sigmoids of normal ones. A query's
      content is what the decoder's own encoder makes of the memory at the box's centre (published detectors, which do
      not select queries, have none). In evaluation mode the boxes are always the same.
    * ``specific``: what the teacher's encoder selected. The teacher's answers are those that it gives anyway.
    * ``student``: what the student's encoder selected; then only the frozen teacher is asked once more, so it is the
      cheapest. Not in the paper.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        points: the kinds of places where both are asked.
        general: how many random boxes an image has.
        layers: ``paired``: layers learn from the teacher's, the last from the last and so backwards; earlier ones of a
            student that has more learn nothing. ``last``: all learn from the teacher's last layer, as published.
        cls_weight: factor on the classes' part.
        bbox_weight: factor on the differences of boxes.
        giou_weight: factor on their overlaps.
        T: temperature of the classes.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: one of the two has no queries that could be asked at other places, classes differ, or cells are to
            be exchanged between memories of different strides.
        ConfigError: no points are asked for, or one kind twice.
    """

    paper = "2211.08071"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        points: Sequence[Place] = ("general", "specific"),
        general: int = 300,
        layers: Literal["paired", "last"] = "paired",
        cls_weight: float = 1.0,
        bbox_weight: float = 5.0,
        giou_weight: float = 2.0,
        T: float = 10.0,
        **wiring: Unpack[Wiring],
    ) -> None:
        asker = type(self).__name__
        if not points or len(set(points)) < len(points) or general < 1:
            raise ConfigError(
                f"{asker}.points is {list(points)}, general {general}: give each of {', '.join(PLACES)} at most once, "
                "one of them at least, and a number of general points"
            )
        needs = Needs(
            student=("answer", "points") if "student" in points else ("answer",),
            teacher=("answer", "points") if "specific" in points else ("answer",),
        )
        require_queries(asker, student, teacher)
        super().__init__(student, teacher, consumes=[MEMORY, LOGITS, BOXES], needs=needs, **wiring)
        if set(points) != {"general"}:
            require_same_cells(asker, student, teacher, "set points: [general]")
        self.points, self.general = tuple(points), general
        self.stages = [(pair.student, pair.teacher) for pair in self.pairs[LOGITS]]
        """The student's layers that learn, and the teacher's that each learns from."""
        if layers == "last":
            self.stages = [(i, self.stages[-1][1]) for i in range(len(student.entries[LOGITS].levels))]
        weights = {"cls_weight": cls_weight, "bbox_weight": bbox_weight, "giou_weight": giou_weight}
        self.formula = QueryAnswersLoss(**weights, T=T)

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        values = [
            self.formula(own[LOGITS][i], own[BOXES][i], other[LOGITS][j], other[BOXES][j])
            for own, other in self._answers(student, teacher)
            for i, j in self.stages
        ]
        return paddle.add_n(values)

    def _answers(self, student: Side, teacher: Side) -> Iterator[tuple[Record, Record]]:
        """What both say of the points of each kind."""
        for kind in self.points:
            if kind == "specific":
                yield student.answer(teacher.points()), teacher.record
            elif kind == "student":
                yield student.record, teacher.answer(student.points())
            else:
                points = self._drawn(student.record[BOXES][0].shape[0])
                yield student.answer(points), teacher.answer(points)

    def _drawn(self, images: int) -> Points:
        shape = [images, self.general, 4]
        if self.training:
            return Points(F.sigmoid(paddle.randn(shape)))
        return Points(F.sigmoid(paddle.to_tensor(np.random.default_rng(0).standard_normal(shape), "float32")))
