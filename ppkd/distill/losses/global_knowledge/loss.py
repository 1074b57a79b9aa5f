"""Global Knowledge: robust distilling by prototypes (Tang et al., ECCV 2022, arXiv 2210.09022)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, cast

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.distill.cells.levels import box_levels, cell_spans
from ppkd.distill.loss import DistillLoss
from ppkd.distill.losses.box_relations import angle_relation, distance_relation, prototype_relation
from ppkd.distill.losses.kd_kl_div import KnowledgeDistillationKLDivLoss
from ppkd.distill.losses.robust_regions import imitation, paint
from ppkd.distill.pairing import LevelPair
from ppkd.distill.preparation import Material
from ppkd.distill.prototypes.bank import PrototypeBank
from ppkd.distill.prototypes.generation import PrototypeMaker, PrototypeSettings
from ppkd.distill.prototypes.pooling import pool_boxes
from ppkd.distill.schedule import WeightSchedule
from ppkd.models.layers.select import take_rows
from ppkd.models.losses.normaliser import over_batch
from ppkd.structures import DetectorSpec, Record
from ppkd.utils.errors import SpecError

ROI_LEVELS = 4
"""RoI features come from so many levels, the finest ones."""
Relation = Literal["none", "prototypes", "rkd"]


@dataclass(frozen=True)
class Boxes:
    """What is distilled in N images: corner boxes float32 [N, M, 4] in pixels, classes int64 [N, M], bool [N, M]."""

    corners: Tensor
    labels: Tensor
    real: Tensor


@register
class GlobalKnowledge(DistillLoss):
    """Boxes weigh as much as student and teacher agree on them, seen from prototypes of their class.

    The weight of a box on a level is r = 1 - |q - q'|, where q is the largest cosine of the box's mean features with a
    prototype of its class (:class:`PrototypeBank`). Prototypes are instances of the training set, chosen before
    training and every few epochs (:func:`select`); before there are any, r is 1. Three parts are added:

    * *point*: the teacher's maps imitated in the boxes, weighted by r, and in the ``background`` around them, the
      student's maps adapted by a 3x3 convolution. Every box is painted on one level (:func:`box_levels`).
    * *soft label*: divergence of the classes (:class:`KnowledgeDistillationKLDivLoss`) of proposals, weighted by r of
      their RoI features, or of the anchors of the boxes, weighted by r of the box on its level.
    * *relation*: differences of the cosines of boxes with all ``prototypes``, weighted by r, or of the angles and
      distances between boxes (``rkd``). The published settings have none.

    Point and relation fade linearly from epoch to epoch where ``fade_epochs`` is given. In the published code for one
    stage the weights of the soft labels are ordered by image and the anchors by level, so that they do not belong to
    each other; here they do.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        point: factor on the imitation in boxes.
        background: factor on the imitation around them.
        robust: weigh the boxes of the point part by r; the published code does so except with ``rkd``.
        soft_label: factor on the divergence of classes; 0 leaves the heads alone, so that any two necks will do.
        relation: which relation.
        relation_weight: factor on it; twice that on ``rkd``'s angles.
        T: temperature.
        boxes: the boxes of two-stage students: ``proposals`` that are assigned to an object, as published, or the
            ``truth``, which one-stage students always have.
        max_boxes: of an image, no more than so many assigned proposals are looked at, the first ones; PaddleDetection's
            sampler, which takes a quarter of 512, has no more.
        average: divide the point part by the number of levels; by default, as published, for two-stage students only.
        fade_epochs: point and relation are multiplied by 1 - epoch / fade_epochs; published is the length of the run.
        rkd_boxes: the relation among boxes looks at no more than so many of a batch, the first ones.
        prototypes: how prototypes are made.
        weight: factor on the loss in the total.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: necks or, with soft labels, heads do not fit each other.
    """

    paper = "2210.09022"
    needs_ground_truth = True

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        point: float = 1.0,
        background: float = 4.0,
        robust: bool = True,
        soft_label: float = 1.0,
        relation: Relation = "none",
        relation_weight: float = 5.0,
        T: float = 2.0,
        boxes: Literal["proposals", "truth"] = "proposals",
        max_boxes: int = 128,
        average: bool | None = None,
        fade_epochs: float | None = None,
        rkd_boxes: int = 64,
        prototypes: PrototypeSettings | None = None,
        weight: float = 1.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        two_stage = "roi_logits" in student.entries
        consumes = ["neck", *(_heads(student) if soft_label else ())]
        super().__init__(student, teacher, consumes=consumes, weight=weight, schedule=schedule)
        self.point, self.background, self.robust, self.soft_label = point, background, robust, soft_label
        self.relation, self.relation_weight, self.rkd_boxes = relation, relation_weight, rkd_boxes
        self.fade_epochs = fade_epochs
        self.num_classes = student.num_classes
        self.two_stage = two_stage
        self.proposals, self.max_boxes = two_stage and boxes == "proposals", max_boxes
        self.levels = sorted(self.pairs["neck"], key=lambda pair: pair.stride)
        self.share = 1.0 / len(self.levels) if (two_stage if average is None else average) else 1.0
        channels = [
            (student.entries["neck"][p.student].channels, teacher.entries["neck"][p.teacher].channels)
            for p in self.levels
        ]
        self.adapters = nn.LayerList([nn.Conv2D(ours, theirs, 3, padding=1) for ours, theirs in channels])
        settings = prototypes or PrototypeSettings()
        self.bank = PrototypeBank(student.num_classes, settings.count, channels)
        self.formula = KnowledgeDistillationKLDivLoss(reduction="sum", T=T)
        self._maker = PrototypeMaker(self.bank, self.levels, settings)

    def due(self, epoch: int) -> bool:
        """Whether ``epoch`` begins with new prototypes."""
        return self._maker.due(epoch)

    def prepare(self, epoch: int, material: Material) -> None:
        """Make new prototypes."""
        self._maker.make(epoch, material)

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""
        boxes = self.find_boxes(student, context)
        features = [self._pooled(pair, student, teacher, boxes) for pair in self.levels]
        weights = [self.bank.weights(i, *both, boxes.labels) for i, both in enumerate(features)]
        inside, outside = self.imitate(student, teacher, boxes, weights)
        faded = self.share * (self.point * inside + self.background * outside)
        if self.relation != "none":
            faded = faded + self.relation_weight * self.relate(features, weights, boxes)
        loss = self.fade(context.epoch) * faded
        if self.soft_label:
            loss = loss + self.soft_label * self.soft_labels(student, teacher, boxes, weights, context)
        return loss

    def fade(self, epoch: float) -> float:
        """The factor on point and relation, the same throughout an epoch."""
        return 1.0 if self.fade_epochs is None else max(0.0, 1.0 - math.floor(epoch) / self.fade_epochs)

    def find_boxes(self, student: Record, context: Context) -> Boxes:
        """The boxes to distil."""
        if self.proposals:
            labels, real = self._assigned(context)
            first = paddle.argsort(1 - real.astype("int64"), axis=1, stable=True)[:, : self.max_boxes]
            labels = paddle.take_along_axis(labels, first, axis=1)
            return Boxes(take_rows(cast(RoIRecord, student).proposals, first), labels, self._real(labels))
        truth = pad_truth(context.batch)
        return Boxes(truth.boxes, truth.labels, truth.scores > 0)

    def imitate(self, student: Record, teacher: Record, boxes: Boxes, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The imitation in boxes and around them, summed over levels."""
        level = box_levels(boxes.corners, len(self.levels))
        terms = []
        for i, (pair, adapter) in enumerate(zip(self.levels, self.adapters, strict=True)):
            ours, theirs = student.neck[pair.student], teacher.neck[pair.teacher]
            size = ours.shape[-2:]
            spans = cell_spans(boxes.corners, pair.stride, *size)
            weight = weights[i] if self.robust else paddle.ones_like(weights[i])
            painted = paint(weight, spans, boxes.real & (level == i), *size)
            terms.append(imitation(adapter(ours), theirs, painted))
        return paddle.add_n([inside for inside, _ in terms]), paddle.add_n([outside for _, outside in terms])

    def relate(self, features: list[tuple[Tensor, Tensor]], weights: list[Tensor], boxes: Boxes) -> Tensor:
        """The relation, summed over levels."""
        terms = []
        for i, (ours, theirs) in enumerate(features):
            if self.relation == "prototypes":
                known = self.bank.known(i) & boxes.real.unsqueeze(-1).unsqueeze(-1)
                terms.append(prototype_relation(*self.bank.cosines(i, ours, theirs), weights[i], known))
            else:
                rows = _first(boxes.real.flatten(), self.rkd_boxes)
                few, soft_few = (one.flatten(0, 1).index_select(rows) for one in (ours, theirs))
                real = boxes.real.flatten().index_select(rows)
                angles, distances = (relation(few, soft_few, real) for relation in (angle_relation, distance_relation))
                terms.append(2.0 * angles + distances)
        return paddle.add_n(terms)

    def soft_labels(
        self, student: Record, teacher: Record, boxes: Boxes, weights: list[Tensor], context: Context
    ) -> Tensor:
        """The mean weighted divergence of classes, 0 without boxes."""
        if self.two_stage:
            return self._of_proposals(cast(RoIRecord, student), cast(RoIRecord, teacher), context)
        level = box_levels(boxes.corners, len(self.levels))
        own = _at(level, weights)
        return self._of_anchors(cast(DenseRecord, student), cast(DenseRecord, teacher), own, context)

    def _pooled(self, pair: LevelPair, student: Record, teacher: Record, boxes: Boxes) -> tuple[Tensor, Tensor]:
        """Mean features of the boxes [N, M, C], with gradient where the relation wants it."""
        ours = student.neck[pair.student]
        maps = (ours.detach() if self.relation == "none" else ours, teacher.neck[pair.teacher].detach())
        pooled, soft_pooled = pool_boxes(maps, boxes.corners, (1.0 / pair.stride, 1.0 / pair.stride))
        return pooled, soft_pooled

    def _assigned(self, context: Context) -> tuple[Tensor, Tensor]:
        """The classes of the proposals, int64 [N, R], and which of them are assigned to an object, bool [N, R]."""
        targets: Any = context.targets
        return targets.roi_labels, self._real(targets.roi_labels)

    def _real(self, labels: Tensor) -> Tensor:
        return (labels >= 0) & (labels < self.num_classes)

    def _of_proposals(self, student: RoIRecord, teacher: RoIRecord, context: Context) -> Tensor:
        labels, assigned = self._assigned(context)
        ours, theirs = (record.roi_features.detach().mean(axis=[3, 4]) for record in (student, teacher))
        levels = range(min(ROI_LEVELS, len(self.levels)))
        level = box_levels(student.proposals, len(levels), inclusive=False)
        weights = _at(level, [self.bank.weights(i, ours, theirs, labels) for i in levels])
        real = assigned.astype("float32")
        shares = weights * real / over_batch(real.sum()).clip(min=1)
        return self.formula(student.roi_logits.flatten(0, 1), teacher.roi_logits.flatten(0, 1), shares.flatten())

    def _of_anchors(self, student: DenseRecord, teacher: DenseRecord, weights: Tensor, context: Context) -> Tensor:
        """Divergence at the anchors of boxes with ``weights`` [N, M]."""
        targets: Any = context.targets
        shares = paddle.take_along_axis(weights, targets.box, axis=1) * targets.positive
        shares = shares / over_batch(targets.positive.sum()).clip(min=1)
        sizes = [level.shape[1] * level.shape[3] * level.shape[4] for level in student.cls_logits]
        by_level = shares.split(sizes, axis=1)
        pairs = self.pairs["cls_logits"]
        return self.formula(
            paddle.concat([_classes(student.cls_logits[pair.student]) for pair in pairs]),
            paddle.concat([_classes(teacher.cls_logits[pair.teacher]) for pair in pairs]),
            paddle.concat([by_level[pair.student].flatten() for pair in pairs]),
        )


def _heads(student: DetectorSpec) -> tuple[str, ...]:
    if "roi_logits" in student.entries:
        return ("roi_features", "roi_logits")
    if "objectness" in student.entries:
        raise SpecError(
            f"GlobalKnowledge has no soft labels for {student.name}, whose anchors belong to no box by overlap: "
            "set soft_label: 0 for the other parts"
        )
    return ("cls_logits",)


def _at(level: Tensor, values: list[Tensor]) -> Tensor:
    """The value of each box at its ``level`` [N, M], of one tensor [N, M] for each level."""
    return paddle.take_along_axis(paddle.stack(values, axis=-1), level.unsqueeze(-1), axis=-1).squeeze(-1)


def _first(real: Tensor, most: int) -> Tensor:
    """The positions of the first true ones in ``real`` (M,), false ones behind, ``most`` at the most."""
    return paddle.argsort(1 - real.astype("int64"), stable=True)[:most]


def _classes(level: Tensor) -> Tensor:
    """Logits [N, A, C, H, W] as rows (N * H * W * A, C)."""
    return level.transpose([0, 3, 4, 1, 2]).reshape([-1, level.shape[2]])
