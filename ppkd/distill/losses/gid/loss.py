"""GID: general instance distillation (Dai et al., CVPR 2021, arXiv 2103.02340)."""

from __future__ import annotations

from typing import Unpack

from paddle import Tensor, nn

from ppkd.config import register
from ppkd.distill.general_instances import COUNT
from ppkd.distill.loss import DistillLoss, Wiring
from ppkd.distill.losses.gid.anchors import AnchorReader
from ppkd.distill.losses.gid.instances import Rule, find_instances
from ppkd.distill.losses.gid.places import Reader
from ppkd.distill.losses.gid.pooling import pool_instances
from ppkd.distill.losses.gid.proposals import ProposalReader
from ppkd.distill.losses.gid.terms import feature_term, relation_term, response_terms
from ppkd.distill.maps import default_conv
from ppkd.distill.proposals import require_proposals
from ppkd.distill.side import Progress, Side
from ppkd.structures import DetectorSpec
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError


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
        wiring: see :class:`ppkd.distill.loss.Wiring`.

    Raises:
        SpecError: one of the two does not record what the other does, or lacks an ability; their classes or anchors
            differ, or channels do and nothing adapts them.
    """

    paper = "2103.02340"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        count: int = COUNT,
        rule: Rule = "class",
        adapt: bool = True,
        side: int = 10,
        feature_weight: float = 0.0005,
        relation_weight: float = 40.0,
        class_weight: float = 0.1,
        box_weight: float = 1.0,
        **wiring: Unpack[Wiring],
    ) -> None:
        reader = _reader(student, teacher)
        consumes = ["neck", *reader.consumes]
        decoded = reader.decoded(student)
        super().__init__(student, teacher, consumes=consumes, needs=reader.needs, decoded=decoded, **wiring)
        self.reader = reader
        self.count, self.rule, self.side = count, rule, side
        self.feature_weight, self.relation_weight = feature_weight, relation_weight
        self.class_weight, self.box_weight = class_weight, box_weight
        self.activation = student.entries[reader.classes].activation
        channels = self.channels["neck"]
        shapes = list(dict.fromkeys(channels))
        if not adapt and any(own != other for own, other in shapes):
            raise SpecError(
                f"GID.adapt is false, but the levels of {student.name} and {teacher.name} have {shapes} channels: "
                "set it to true"
            )
        convs = [default_conv(*shape, 3) if adapt else nn.Identity() for shape in shapes]
        self.adapters = nn.LayerList(convs)
        self.adapter_of = [shapes.index(shape) for shape in channels]

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        pairs = self.pairs[self.reader.classes]
        levels = [pair.student for pair in pairs]
        own, soft = self.reader.places(student, levels), self.reader.places(teacher, [pair.teacher for pair in pairs])
        found = find_instances(
            (own.scores, soft.scores), (own.boxes, soft.boxes), truth.image_shape, count=self.count, rule=self.rule
        )
        chosen = self.reader.answering(student, own, Truth.around(found.boxes, truth.im_shape), levels)
        classes, boxes = response_terms((own.logits, soft.logits), (own.numbers, soft.numbers), chosen, self.activation)
        features = self._pooled(student, teacher, found.boxes)
        return (
            self.feature_weight * feature_term(*features, found.real)
            + self.relation_weight * relation_term(*features, found.real)
            + self.class_weight * classes
            + self.box_weight * boxes
        )

    def _pooled(self, student: Side, teacher: Side, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The student's and the teacher's features of the instances, [N, K, C, side, side] each."""
        pairs = self.pairs["neck"]
        strides = [pair.stride for pair in pairs]
        adapters = [self.adapters[adapter] for adapter in self.adapter_of]
        own = [adapt(student.record.neck[pair.student]) for adapt, pair in zip(adapters, pairs, strict=True)]
        other = [teacher.record.neck[pair.teacher] for pair in pairs]
        return pool_instances(own, strides, boxes, self.side), pool_instances(other, strides, boxes, self.side)


def _reader(student: DetectorSpec, teacher: DetectorSpec) -> Reader:
    """What reads the student's kind of head; raises :class:`SpecError` for heads that GID has no rules for."""
    if student.of("class", kind="rows"):
        entries = require_proposals("GID", student, teacher, also="deltas")
        return ProposalReader(entries.classes, entries.boxes, entries.deltas)
    classes = student.of("class", kind="grid")
    if not classes or student.entries[classes[0]].activation == "none":
        raise SpecError(
            f"GID between {student.name} and {teacher.name} compares logits of classes, but {student.name} records "
            f"{sorted(student.entries)}: choose detectors that record them, or a loss on necks alone"
        )
    return AnchorReader(classes[0], student.of("box", kind="grid"))
