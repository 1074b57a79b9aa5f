"""GID: general instance distillation (Dai et al., CVPR 2021, arXiv 2103.02340)."""

from __future__ import annotations

from typing import Literal, cast

from paddle import Tensor, nn

from ppkd.config import register
from ppkd.distill.loss import DistillLoss
from ppkd.distill.losses.gid_instances import Rule, find_instances, pool_instances
from ppkd.distill.losses.gid_places import (
    Decodes,
    Places,
    answering_anchors,
    answering_proposals,
    dense_places,
    proposal_places,
)
from ppkd.distill.losses.gid_terms import feature_term, relation_term, response_terms
from ppkd.distill.schedule import WeightSchedule
from ppkd.distill.teacher import FrozenTeacher
from ppkd.models.detectors.detector import Detector
from ppkd.structures import DetectorSpec, Record
from ppkd.utils.errors import SpecError

BOXES = ("box_deltas", "box_dist", "box_xywh")
"""Entries that hold boxes; the student's is compared with the teacher's."""


@register
class GID(DistillLoss):
    """Features, relations and responses of general instances: the places where student and teacher differ most.

    Instances need no ground truth; :func:`find_instances` says which they are. The terms are
    :func:`feature_term` and :func:`relation_term` of features pooled at the instances, and :func:`response_terms` at
    the anchors which the student's assigner gives to them. Where the reproduction in Detectron2 and the paper, from
    memory, differ, the paper is followed: scores are compared class by class, and the student's features adapted.

    On proposals, which the paper has other rules for, instances are proposals, both detectors see the same, and those
    that overlap one by half respond, through a softmax.

    Args:
        student: what the student records.
        teacher: what the teacher records, with the same classes and anchors.
        count: how many instances an image has at most.
        rule: what of the scores is compared, see :func:`find_instances`.
        adapt: put a 3x3 convolution before the student's features; levels of equal channels share it.
        side: cells of a pooled feature along an axis.
        feature_weight: weight of the features.
        relation_weight: weight of the relations.
        class_weight: weight of the classes in the responses.
        box_weight: weight of the boxes in the responses.
        weight: factor on the loss in the total.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: one of the two does not record what the other does, their classes or anchors differ, or channels do
            and nothing adapts them.
    """

    paper = "2103.02340"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        count: int = 10,
        rule: Rule = "class",
        adapt: bool = True,
        side: int = 10,
        feature_weight: float = 0.0005,
        relation_weight: float = 40.0,
        class_weight: float = 0.1,
        box_weight: float = 1.0,
        weight: float = 1.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        super().__init__(student, teacher, consumes=_consumed(student), weight=weight, schedule=schedule)
        self.on_proposals = "roi_logits" in student.entries
        self.count, self.rule, self.side = count, rule, side
        self.feature_weight, self.relation_weight = feature_weight, relation_weight
        self.class_weight, self.box_weight = class_weight, box_weight
        self.strides = [] if self.on_proposals else [level.stride for level in student.entries["cls_logits"]]
        self.channels = _channels(student, teacher, self)
        shapes = list(dict.fromkeys(self.channels))
        if not adapt and any(ours != theirs for ours, theirs in shapes):
            raise SpecError(
                f"GID.adapt is false, but the levels of {student.name} and {teacher.name} have {shapes} channels: "
                "set it to true"
            )
        convs = [nn.Conv2D(*shape, 3, padding=1) if adapt else nn.Identity() for shape in shapes]
        self.adapters = nn.LayerList(convs)
        self.adapter_of = [shapes.index(shape) for shape in self.channels]

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""
        ours, theirs = self._places(student, teacher, context)
        found = find_instances(
            (ours.scores, theirs.scores),
            (ours.boxes, theirs.boxes),
            context.batch["im_shape"],
            count=self.count,
            rule=self.rule,
        )
        if self.on_proposals:
            chosen = answering_proposals(ours, found)
        else:
            detector, pairs = cast(Detector, context.student), self.pairs["cls_logits"]
            levels = [pair.student for pair in pairs]
            chosen = answering_anchors(cast(DenseRecord, student), detector, found, levels, self.strides)
        features = self._pooled(student, teacher, found.boxes)
        activation: Literal["sigmoid", "softmax"] = "softmax" if self.on_proposals else "sigmoid"
        logits, numbers = (ours.logits, theirs.logits), (ours.numbers, theirs.numbers)
        classes, boxes = response_terms(logits, numbers, chosen, activation)
        return (
            self.feature_weight * feature_term(*features, found.real)
            + self.relation_weight * relation_term(*features, found.real)
            + self.class_weight * classes
            + self.box_weight * boxes
        )

    def _places(self, student: Record, teacher: Record, context: Context) -> tuple[Places, Places]:
        if self.on_proposals:
            return proposal_places(cast(RoIRecord, student)), proposal_places(cast(RoIRecord, teacher))
        pairs = self.pairs["cls_logits"]
        strides = [pair.stride for pair in pairs]
        ours, theirs = cast(DenseRecord, student), cast(DenseRecord, teacher)
        detector, frozen = cast(Decodes, context.student), cast(Decodes, cast(FrozenTeacher, context.teacher).detector)
        return (
            dense_places(ours, detector, [pair.student for pair in pairs], strides),
            dense_places(theirs, frozen, [pair.teacher for pair in pairs], strides),
        )

    def _pooled(self, student: Record, teacher: Record, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The student's and the teacher's features of the instances, [N, K, C, side, side] each."""
        pairs = self.pairs["neck"]
        strides = [pair.stride for pair in pairs]
        ours = [
            self.adapters[adapter](student.neck[pair.student])
            for adapter, pair in zip(self.adapter_of, pairs, strict=True)
        ]
        theirs = [teacher.neck[pair.teacher] for pair in pairs]
        return (
            pool_instances(ours, strides, boxes, self.side),
            pool_instances(theirs, strides, boxes, self.side),
        )


def _consumed(student: DetectorSpec) -> list[str]:
    if "roi_logits" in student.entries:
        return ["neck", "proposals", "roi_logits", "roi_deltas"]
    return ["neck", "cls_logits", *(name for name in BOXES if name in student.entries)]


def _channels(student: DetectorSpec, teacher: DetectorSpec, loss: DistillLoss) -> list[tuple[int, int]]:
    """The student's and the teacher's channels of every pair of levels."""
    ours, theirs = student.entries["neck"], teacher.entries["neck"]
    return [(ours[pair.student].channels, theirs[pair.teacher].channels) for pair in loss.pairs["neck"]]
