"""Fine-grained distillation of YOLOv3: boxes, classes and objectness apart, weighted by the teacher's objectness."""

from __future__ import annotations

from typing import cast

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.loss import DistillLoss
from ppkd.distill.schedule import WeightSchedule
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy
from ppkd.structures import DetectorSpec, Record


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

    def forward(self, student: YOLORecord, teacher: YOLORecord) -> Tensor:
        """The loss, a scalar; both records hold raw numbers, and no gradient flows to the teacher's."""
        levels = zip(
            student.box_xywh,
            student.objectness,
            student.cls_logits,
            teacher.box_xywh,
            teacher.objectness,
            teacher.cls_logits,
            strict=True,
        )
        return self.loss_weight * paddle.add_n([_level(*level) for level in levels])


def _level(
    box: Tensor, objectness: Tensor, cls: Tensor, soft_box: Tensor, soft_objectness: Tensor, soft_cls: Tensor
) -> Tensor:
    weight = F.sigmoid(soft_objectness.detach())
    centre = _cross_entropy(box[:, :, :2], F.sigmoid(soft_box[:, :, :2]))
    size = (box[:, :, 2:] - soft_box[:, :, 2:].detach()).abs()
    boxes = ((centre + size).sum(axis=2, keepdim=True) * weight).mean()
    classes = (_cross_entropy(cls, F.sigmoid(soft_cls)).mean(axis=2, keepdim=True) * weight).mean()
    present = (soft_objectness > 0).astype(objectness.dtype)
    return boxes + classes + _cross_entropy(objectness, present).mean()


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return binary_cross_entropy(logits, target.detach())


@register
class YOLOv3FineGrained(DistillLoss):
    """Wires :class:`DistillYOLOv3Loss` to the records of two YOLOv3 detectors.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        weight: factor on the loss in the total.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: one of the two is no YOLOv3, or their classes or anchors differ.
    """

    paper = "1805.06361"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        weight: float = 1000.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        entries = ("box_xywh", "objectness", "cls_logits")
        super().__init__(student, teacher, consumes=entries, weight=weight, schedule=schedule)
        self.formula = DistillYOLOv3Loss(weight=1.0)

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""
        pairs = self.pairs["objectness"]
        ours = cast(YOLORecord, student).levels([pair.student for pair in pairs])
        theirs = cast(YOLORecord, teacher).levels([pair.teacher for pair in pairs])
        return self.formula(ours, theirs)
