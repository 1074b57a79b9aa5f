"""What PaddleDetection distils from one PP-YOLOE+ to another: classes, boxes and the distributions of their sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.divergence import KDQualityFocalLoss, KnowledgeDistillationKLDivLoss
from ppkd.distill.loss import DistillLoss, Needs, Wiring
from ppkd.distill.side import Progress, Side
from ppkd.models.assigners.cell_targets import RatedTargets
from ppkd.models.assigners.place_targets import PlaceTargets
from ppkd.models.layers.select import take_rows
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.postprocess.dense_decode import count_places, join_levels
from ppkd.structures import DetectorSpec
from ppkd.structures.boxes import paired_overlap
from ppkd.structures.truth import Truth

EPS = 1e-9


@register
class DistillPPYOLOELoss(DistillLoss):
    """Four losses of predictions, those of PaddleDetection's class of this name on the student's assignment.

    A cell's rating is what its class is to score, 0 where it answers for no box; of a student whose assigner gives none
    (GFL) it is the overlap of the predicted box with the one that the cell answers for.

    * Classes: cross-entropy with the teacher's probabilities, times the square of the distance to them, in all cells,
      divided by the sum of the ratings, 1 at least.
    * Boxes: 1 - GIoU of the decoded boxes, their mean weighted by the ratings.
    * Sides: cross-entropy of the distributions with the teacher's, the mean over sides, weighted likewise.
    * ``kd``: :class:`KnowledgeDistillationKLDivLoss` of the classes in cells that answer for a box, their mean. As
      published it takes the probabilities, not their logits, which is why its weight is so large.

    Without a cell that answers for a box only the classes' part is left.

    Args:
        student: what the student records.
        teacher: what the teacher records, with the same classes and bins and cells at the same points.
        cls_weight: factor on the classes' part.
        box_weight: factor on the boxes' part.
        dfl_weight: factor on the sides' part.
        kd_weight: factor on ``kd``, which PaddleDetection has off unless a file says otherwise, as all of its files do.
        T: temperature of ``kd``.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: one of the two records no sigmoid class logits or no distributions of sides, or classes, bins or
            points differ.
    """

    needs_truth = True
    default_weight = 4.0

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        cls_weight: float = 1.0,
        box_weight: float = 2.5,
        dfl_weight: float = 0.5,
        kd_weight: float = 20000.0,
        T: float = 10.0,
        **wiring: Unpack[Wiring],
    ) -> None:
        needs = Needs(student=("assign", "boxes"), teacher=("boxes",))
        super().__init__(student, teacher, consumes=["cls_logits", "box_dist"], needs=needs, kind="grid", **wiring)
        student.require_activation("cls_logits", "sigmoid", type(self).__name__)
        self.cls_weight, self.box_weight, self.dfl_weight, self.kd_weight = (
            cls_weight,
            box_weight,
            dfl_weight,
            kd_weight,
        )
        self.cls_formula, self.box_formula = KDQualityFocalLoss(beta=2.0), GIoULoss()
        self.kd_formula = KnowledgeDistillationKLDivLoss(reduction="sum", T=T)

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        logits, soft = (join_levels(levels) for levels in self._entry("cls_logits", student, teacher))
        dist, soft_dist = (join_levels(levels) for levels in self._entry("box_dist", student, teacher))
        boxes, wanted = (paddle.concat(levels, axis=1) for levels in self._boxes(student, teacher))
        rating, positive = self._rated(student, truth)
        total = over_batch(rating.sum()).clip(min=EPS)
        classes = self.cls_formula(logits, soft) / over_batch(rating.sum(), least=1.0)
        regression = self.box_formula(boxes, wanted, rating) / total
        distributions = _mean_of_sides(dist, soft_dist, rating) / total
        return (
            self.cls_weight * classes
            + self.box_weight * regression
            + self.dfl_weight * distributions
            + self.kd_weight * self._kd(F.sigmoid(logits), F.sigmoid(soft), positive)
        )

    def _kd(self, predicted: Tensor, wanted: Tensor, positive: Tensor) -> Tensor:
        rows = (predicted.flatten(0, 1), wanted.flatten(0, 1))
        return self.kd_formula(*rows, weight=positive.flatten()) / over_batch(positive.sum(), least=1.0)

    def _entry(self, name: str, student: Side, teacher: Side) -> tuple[list[Tensor], list[Tensor]]:
        return self._paired(name, student.record[name], teacher.record[name])

    def _boxes(self, student: Side, teacher: Side) -> tuple[list[Tensor], list[Tensor]]:
        return self._paired("box_dist", student.boxes(), teacher.boxes())

    def _paired(self, name: str, own: Sequence[Tensor], other: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The student's and the teacher's levels that pair; the teacher's without gradient."""
        pairs = self.pairs[name]
        return [own[pair.student] for pair in pairs], [other[pair.teacher].detach() for pair in pairs]

    @paddle.no_grad()
    def _rated(self, student: Side, truth: Truth) -> tuple[Tensor, Tensor]:
        """The cells' ratings and 1 where they answer for a box, both float32 [N, P], on the levels that pair."""
        targets = student.assign(truth) if student.targets is None else student.targets
        rating = _rating(targets, paddle.concat(student.boxes(), axis=1), truth)
        counts = count_places(student.record["cls_logits"])
        values = [one.split(list(counts), axis=1) for one in (rating, targets.positive)]
        pairs = self.pairs["cls_logits"]
        chosen = [paddle.concat([levels[pair.student] for pair in pairs], axis=1) for levels in values]
        return chosen[0], chosen[1]


def _rating(targets: PlaceTargets, boxes: Tensor, truth: Truth) -> Tensor:
    if isinstance(targets, RatedTargets):
        return targets.rating
    shared, union = paired_overlap(boxes, take_rows(truth.boxes, targets.box))
    return targets.positive * shared / union.clip(min=EPS)


def _mean_of_sides(dist: Tensor, soft: Tensor, rating: Tensor) -> Tensor:
    """The cross-entropies of [N, P, 4 * bins], the mean of each cell's four, times ``rating`` [N, P] and summed."""
    bins = dist.shape[-1] // 4
    error = F.cross_entropy(
        dist.reshape([-1, bins]), F.softmax(soft.reshape([-1, bins]), axis=1), soft_label=True, reduction="none"
    )
    return (error.reshape([-1, 4]).mean(axis=1) * rating.flatten()).sum()
