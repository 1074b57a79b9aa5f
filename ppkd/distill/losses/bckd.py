"""BCKD: classes as binary classifications, boxes by their overlap (Yang et al., ICCV 2023, arXiv 2308.14286)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.cells.answering import Answering, answering
from ppkd.distill.divergence import KDQualityFocalLoss
from ppkd.distill.loss import DistillLoss, Needs, Wiring
from ppkd.distill.pairing import LevelPair
from ppkd.distill.side import Progress, Side
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.postprocess.dense_decode import count_places, join_levels
from ppkd.structures import DetectorSpec
from ppkd.structures.truth import Truth


@register
class BCKD(DistillLoss):
    """Two losses over all places that the student's assigner does not ignore, divided by the number of positive ones.

    * Classes: :class:`KDQualityFocalLoss` of the class logits, the binary cross-entropy with the teacher's
      probabilities times the distance to them.
    * Boxes: 1 - GIoU of the decoded boxes, each weighted by the largest distance of its class probabilities, detached.

    As in the published code a level without a positive place counts for neither.

    Args:
        student: what the student records.
        teacher: what the teacher records, with the same classes and the same anchors.
        cls_weight: factor on the classes' part.
        box_weight: factor on the boxes' part.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: one of the two records no sigmoid class logits cell by cell, tells no boxes, or classes or anchors
            differ.
    """

    paper = "2308.14286"
    needs_truth = True

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        cls_weight: float = 1.0,
        box_weight: float = 4.0,
        **wiring: Unpack[Wiring],
    ) -> None:
        needs = Needs(student=("assign", "boxes"), teacher=("boxes",))
        super().__init__(student, teacher, consumes=["cls_logits"], needs=needs, kind="grid", **wiring)
        for spec in (student, teacher):
            spec.require_activation("cls_logits", "sigmoid", "BCKD")
        self.strides = student.entries["cls_logits"].strides
        self.cls_weight, self.box_weight = cls_weight, box_weight
        self.cls_formula, self.box_formula = KDQualityFocalLoss(), GIoULoss()

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        pairs = self.pairs["cls_logits"]
        found = answering(student.record["cls_logits"], self.strides, student, truth)
        counted = _counted(found, count_places(student.record["cls_logits"]), pairs)
        logits = join_levels([student.record["cls_logits"][pair.student] for pair in pairs])
        soft = join_levels([teacher.record["cls_logits"][pair.teacher] for pair in pairs]).detach()
        classes = self.cls_formula(logits, soft, counted)
        distance = (F.sigmoid(soft) - F.sigmoid(logits)).abs().max(axis=-1).detach()
        boxes = self.box_formula(*_boxes(student, teacher, pairs), distance * counted)
        positives = over_batch(found.positive.astype("float32").sum(), least=1.0)
        return (self.cls_weight * classes + self.box_weight * boxes) / positives


def _counted(found: Answering, counts: Sequence[int], pairs: Sequence[LevelPair]) -> Tensor:
    """1 for places of paired levels that count, 0 for ignored ones and on levels without a positive, float32 [N, P]."""
    positive, known = (places.astype("float32").split(list(counts), axis=1) for places in (found.positive, found.known))
    return paddle.concat([known[pair.student] * positive[pair.student].max() for pair in pairs], axis=1)


def _boxes(student: Side, teacher: Side, pairs: Sequence[LevelPair]) -> tuple[Tensor, Tensor]:
    """Boxes [N, P, 4] of the paired levels, the student's and the teacher's."""
    own, other = student.boxes(), teacher.boxes()
    return (
        paddle.concat([own[pair.student] for pair in pairs], axis=1),
        paddle.concat([other[pair.teacher] for pair in pairs], axis=1).detach(),
    )
