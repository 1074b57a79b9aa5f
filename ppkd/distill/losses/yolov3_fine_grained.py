"""Fine-grained distillation of YOLOv3: boxes, classes and objectness apart, weighted by the teacher's objectness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Unpack

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.loss import DistillLoss, Wiring
from ppkd.distill.pairing import common_levels
from ppkd.distill.side import Progress, Side
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy
from ppkd.structures import DetectorSpec, Record
from ppkd.structures.truth import Truth

ENTRIES = ("box_xywh", "objectness", "cls_logits")


class RawLevel(NamedTuple):
    """The raw numbers of one level, [N, A, K, H, W]: boxes, objectness and class logits."""

    box: Tensor
    objectness: Tensor
    cls: Tensor


class DistillYOLOv3Loss(nn.Layer):
    """Distillation between two YOLOv3 records of equal levels.

    After Mehta and Ozturk, "Object detection at 200 Frames Per Second" (arXiv 1805.06361), in PaddleDetection's form,
    whose reduction is a mean per level and a sum over levels. With p = sigmoid of a logit, per anchor and cell:

    * boxes: p_obj(teacher) * (BCE(x) + BCE(y) + |w_s - w_t| + |h_s - h_t|), BCE against the teacher's p;
    * classes: p_obj(teacher) * BCE(class) against the teacher's p, mean over classes;
    * objectness: BCE against 1 where the teacher's logit is positive and 0 elsewhere.

    Args:
        weight: factor on the sum of the three.
    """

    def __init__(self, weight: float = 1000.0) -> None:
        super().__init__()
        self.loss_weight = weight

    def forward(self, student: Record, teacher: Record) -> Tensor:
        """The loss, a scalar; both records hold raw numbers, and no gradient flows to the teacher's."""
        levels, soft_levels = (zip(*(record[name] for name in ENTRIES), strict=True) for record in (student, teacher))
        return self.of_levels([RawLevel(*level) for level in levels], [RawLevel(*level) for level in soft_levels])

    def of_levels(self, student: Sequence[RawLevel], teacher: Sequence[RawLevel]) -> Tensor:
        """The loss of these levels, a scalar."""
        pairs = zip(student, teacher, strict=True)
        return self.loss_weight * paddle.add_n([_level(level, soft_level) for level, soft_level in pairs])


def _level(student: RawLevel, teacher: RawLevel) -> Tensor:
    weight = F.sigmoid(teacher.objectness.detach())
    centre = _cross_entropy(student.box[:, :, :2], F.sigmoid(teacher.box[:, :, :2]))
    size = (student.box[:, :, 2:] - teacher.box[:, :, 2:].detach()).abs()
    boxes = ((centre + size).sum(axis=2, keepdim=True) * weight).mean()
    classes = (_cross_entropy(student.cls, F.sigmoid(teacher.cls)).mean(axis=2, keepdim=True) * weight).mean()
    present = (teacher.objectness > 0).astype(student.objectness.dtype)
    return boxes + classes + _cross_entropy(student.objectness, present).mean()


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return binary_cross_entropy(logits, target.detach())


@register
class YOLOv3FineGrained(DistillLoss):
    """Wires :class:`DistillYOLOv3Loss` to the records of two YOLOv3 detectors.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: one of the two is no YOLOv3, or their classes or anchors differ.
    """

    paper = "1805.06361"
    default_weight = 1000.0

    def __init__(self, student: DetectorSpec, teacher: DetectorSpec, **wiring: Unpack[Wiring]) -> None:
        super().__init__(student, teacher, consumes=ENTRIES, kind="grid", **wiring)
        self.levels = common_levels(type(self).__name__, self.pairs, student, teacher)
        self.formula = DistillYOLOv3Loss(weight=1.0)

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        return self.formula.of_levels(
            [_raw(student.record, [pair.student for pair in level]) for level in self.levels],
            [_raw(teacher.record, [pair.teacher for pair in level]) for level in self.levels],
        )


def _raw(record: Record, places: Sequence[int]) -> RawLevel:
    """The level that is at ``places`` in the entries of ``record``."""
    return RawLevel(*(record[name][place] for name, place in zip(ENTRIES, places, strict=True)))
