"""Global Knowledge: robust distilling by prototypes (Tang et al., ECCV 2022, arXiv 2210.09022)."""

from __future__ import annotations

import math
from typing import Literal, Unpack

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.distill.cells.answering import answering
from ppkd.distill.cells.levels import box_levels, second_level_side
from ppkd.distill.divergence import KnowledgeDistillationKLDivLoss
from ppkd.distill.loss import DistillLoss, Needs, Wiring
from ppkd.distill.losses.global_knowledge.boxes import assigned_boxes, at_level
from ppkd.distill.losses.global_knowledge.point import imitate
from ppkd.distill.losses.global_knowledge.prototypes.bank import PrototypeBank
from ppkd.distill.losses.global_knowledge.prototypes.generation import PrototypeMaker
from ppkd.distill.losses.global_knowledge.prototypes.pooling import pool_boxes
from ppkd.distill.losses.global_knowledge.prototypes.settings import PrototypeSettings
from ppkd.distill.losses.global_knowledge.relation import prototype_relation, rkd
from ppkd.distill.losses.global_knowledge.soft_labels import anchor_divergence, proposal_divergence, soft_label_entries
from ppkd.distill.maps import default_conv
from ppkd.distill.preparation import Material
from ppkd.distill.proposals import find_proposals
from ppkd.distill.side import Progress, Side
from ppkd.structures import Ability, DetectorSpec
from ppkd.structures.truth import Truth

Relation = Literal["none", "prototypes", "rkd"]


@register
class GlobalKnowledge(DistillLoss):
    """Boxes weigh as much as student and teacher agree on how alike they are to prototypes of their class.

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
        max_boxes: of an image, no more than so many assigned proposals are used, the first ones; PaddleDetection's
            sampler, which takes a quarter of 512, has no more.
        second_level_side: side in pixels of the boxes that begin the second level; by default
            :func:`ppkd.distill.cells.levels.second_level_side` of the finest compared level. The published code has 56.
        average: divide the point part by the number of levels; by default, as published, for two-stage students only.
        fade_epochs: point and relation are multiplied by 1 - epoch / fade_epochs; published is the length of the run.
        rkd_boxes: the relation among boxes uses no more than so many of a batch, the first ones.
        prototypes: how prototypes are made.
        wiring: see :class:`ppkd.distill.loss.Wiring`; ``levels`` weighs the imitation's.

    Raises:
        SpecError: necks or, with soft labels, heads do not fit each other.
    """

    paper = "2210.09022"
    needs_truth = True
    by_level = True

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
        second_level_side: float | None = None,
        average: bool | None = None,
        fade_epochs: float | None = None,
        rkd_boxes: int = 64,
        prototypes: PrototypeSettings | None = None,
        **wiring: Unpack[Wiring],
    ) -> None:
        heads = soft_label_entries(student, teacher) if soft_label else ()
        entries = find_proposals(student)
        two_stage = entries is not None
        asked: tuple[Ability, ...] = ("features", "at") if two_stage and soft_label else ("features",)
        needs = Needs(student=("features", "assign"), teacher=asked)
        super().__init__(student, teacher, consumes=["neck", *heads], needs=needs, **wiring)
        self.point, self.background, self.robust, self.soft_label = point, background, robust, soft_label
        self.relation, self.relation_weight, self.rkd_boxes = relation, relation_weight, rkd_boxes
        self.fade_epochs, self.second_level_side = fade_epochs, second_level_side
        self.formula = KnowledgeDistillationKLDivLoss(reduction="none", T=T)
        self.entries, self.heads = entries, heads
        self.proposals, self.max_boxes = two_stage and boxes == "proposals", max_boxes
        self.levels = self.pairs["neck"]
        self.share = 1.0 / len(self.levels) if (two_stage if average is None else average) else 1.0
        channels = self.channels["neck"]
        self.adapters = nn.LayerList([default_conv(*both, 3) for both in channels])
        settings = prototypes or PrototypeSettings()
        self.bank = PrototypeBank(student.num_classes, settings.count, channels)
        self._maker = PrototypeMaker(self.bank, self.levels, settings)

    def due(self, epoch: int) -> bool:
        """Whether ``epoch`` begins with new prototypes."""
        return self._maker.due(epoch)

    def prepare(self, epoch: int, material: Material) -> None:
        """Make new prototypes."""
        self._maker.make(epoch, material)

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        boxes = self.find_boxes(student, truth)
        features = self.pool(student, teacher, boxes)
        weights = [self.bank.weights(i, *both, boxes.labels) for i, both in enumerate(features)]
        inside, outside = self.imitate(student, teacher, boxes, weights)
        faded = self.share * (self.point * inside + self.background * outside)
        if self.relation != "none":
            faded = faded + self.relation_weight * self.relate(features, weights, boxes)
        loss = self.fade(at.epoch) * faded
        if self.soft_label:
            loss = loss + self.soft_label * self.soft_labels(student, teacher, boxes, weights)
        return loss

    def fade(self, epoch: float) -> float:
        """The factor on point and relation, the same throughout an epoch."""
        return 1.0 if self.fade_epochs is None else max(0.0, 1.0 - math.floor(epoch) / self.fade_epochs)

    def find_boxes(self, student: Side, truth: Truth) -> Truth:
        """The boxes to distil, with their classes."""
        if self.entries is None or not self.proposals:
            return truth
        proposals = student.record[self.entries.boxes][-1]
        return assigned_boxes(proposals, student.targets.roi_labels, self.bank.num_classes, self.max_boxes)

    def pool(self, student: Side, teacher: Side, boxes: Truth) -> list[tuple[Tensor, Tensor]]:
        """Mean features [N, M, C] of the boxes on both sides of each level; the student's have gradients in a relation.

        The teacher's have none.
        """
        features = []
        for pair in self.levels:
            own, other = student.record.neck[pair.student], teacher.record.neck[pair.teacher].detach()
            maps = (own.detach() if self.relation == "none" else own, other)
            pooled, soft_pooled = pool_boxes(maps, boxes.boxes, (1.0 / pair.stride, 1.0 / pair.stride))
            features.append((pooled, soft_pooled))
        return features

    def imitate(self, student: Side, teacher: Side, boxes: Truth, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The imitation in boxes and around them, summed over levels."""
        levels = zip(self.adapters, self.levels, strict=True)
        maps = [(adapt(student.record.neck[p.student]), teacher.record.neck[p.teacher]) for adapt, p in levels]
        shares = weights if self.robust else [paddle.ones_like(weight) for weight in weights]
        level = self.level_of(student, boxes)
        strides = [pair.stride for pair in self.levels]
        return imitate(maps, strides, boxes, level, shares, self.wiring.weights(strides))

    def level_of(self, student: Side, boxes: Truth) -> Tensor:
        """The position of each box's level among the compared ones, int64 [N, M]."""
        second = self.second_level_side
        if second is None:
            finest = self.levels[0]
            second = second_level_side(finest.stride, *student.record.neck[finest.student].shape[-2:])
        return box_levels(boxes.boxes, len(self.levels), second=second)

    def relate(self, features: list[tuple[Tensor, Tensor]], weights: list[Tensor], boxes: Truth) -> Tensor:
        """The relation, summed over levels."""
        if self.relation == "rkd":
            return paddle.add_n([rkd(*both, boxes.real, self.rkd_boxes) for both in features])
        terms = []
        for i, both in enumerate(features):
            known = self.bank.known(i) & boxes.real.unsqueeze([-1, -2])
            terms.append(prototype_relation(*self.bank.cosines(i, *both), weights[i], known))
        return paddle.add_n(terms)

    def soft_labels(self, student: Side, teacher: Side, boxes: Truth, weights: list[Tensor]) -> Tensor:
        """The mean weighted divergence of classes, 0 without boxes."""
        if self.entries is not None:
            return proposal_divergence(self.formula, student, teacher, self.entries, self.bank)
        (entry,) = self.heads
        classes = student.record[entry], teacher.record[entry]
        found = answering(classes[0], student.spec.entries[entry].strides, student, boxes)
        own = at_level(self.level_of(student, boxes), weights)
        return anchor_divergence(self.formula, classes, self.pairs[entry], found, own)
