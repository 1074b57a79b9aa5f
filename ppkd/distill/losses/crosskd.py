"""CrossKD: the student's features through the teacher's head (Wang et al., CVPR 2024, arXiv 2306.11369)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.loss import DistillLoss
from ppkd.distill.losses.kd_kl_div import KnowledgeDistillationKLDivLoss
from ppkd.distill.losses.kd_quality_focal import KDQualityFocalLoss
from ppkd.distill.maps import align_conv
from ppkd.distill.schedule import WeightSchedule
from ppkd.distill.teacher import FrozenTeacher
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.postprocess.dense_decode import join_levels
from ppkd.structures import DetectorSpec, Record

EPS = 1e-6
BOX_WEIGHTS = {"box_dist": 4.0, "box_deltas": 1.0}
"""Published for distributions of sides (GFL) and for offsets of anchors (RetinaNet)."""


@register
class CrossKD(DistillLoss):
    """The last layers of the teacher's head on the student's features shall predict what the teacher predicts.

    So the student's own outputs learn from the boxes alone, its backbone, neck and towers from the teacher too. The
    features are those before the last convolution of each tower, the published place in towers of four. They get the
    teacher's mean and deviation in each channel (:func:`with_statistics_of`) before the teacher's head goes on.

    * Classes: :class:`KDQualityFocalLoss` over all anchors that the assigner does not ignore, divided by the number of
      positive ones.
    * Boxes, each weighted by the teacher's highest score there: of a teacher with distributions of sides, their
      divergence (the sum over bins, mean over sides), divided by the sum of the weights; of one with offsets of anchors
      1 - GIoU of the decoded boxes, divided by the number of positive anchors.

    Everything is compared in the teacher's terms: classes, anchors and kind of boxes of the student may be others. The
    anchors are those of the student's own assignment where both detectors have the same, else of the teacher's.

    Args:
        student: what the student records.
        teacher: what the teacher records; where the towers' channels differ, a 1x1 convolution for each tower, which
            is not the paper's, aligns the student's.
        cls_weight: factor on the classes' part.
        box_weight: factor on the boxes' part; by default the published one, 4 for distributions and 1 for offsets.
        beta: how fast the classes' part fades where the teacher is met.
        T: temperature of the distributions.
        weight: factor on the loss in the total.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: one of the two records no features of towers, or no levels pair.
    """

    paper = "2306.11369"
    needs_ground_truth = True

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        cls_weight: float = 1.0,
        box_weight: float | None = None,
        beta: float = 1.0,
        T: float = 1.0,
        weight: float = 1.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        towers = ("cls_features", "box_features")
        super().__init__(student, teacher, consumes=towers, weight=weight, schedule=schedule)
        boxes = next(name for name in BOX_WEIGHTS if name in teacher.entries)
        self.distributions = boxes == "box_dist"
        self.cls_weight = cls_weight
        self.box_weight = BOX_WEIGHTS[boxes] if box_weight is None else box_weight
        self.same_places = _places(student) == _places(teacher)
        self.cls_formula = KDQualityFocalLoss(beta=beta)
        self.side_formula = KnowledgeDistillationKLDivLoss(reduction="sum", T=T)
        self.box_formula = GIoULoss()
        channels = [[spec.entries[name][0].channels for spec in (student, teacher)] for name in towers]
        self.aligns = nn.LayerList([align_conv(*pair, bias=False) or nn.Identity() for pair in channels])

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar; raises :class:`ValueError` for a context without the teacher."""
        if context.teacher is None:
            raise ValueError("CrossKD goes through the teacher's head: its context needs the teacher")
        ours, theirs = cast(TowerRecord, student), cast(TowerRecord, teacher)
        crossed = context.teacher.complete(self.cross(ours, theirs))
        targets = context.targets
        if targets is None or not self.same_places:
            targets = context.teacher.detector.assign(theirs, context.batch)
        counted = self._counted(theirs, targets)
        positives = over_batch(targets.positive.sum(axis=1).clip(min=1).sum())
        classes = self.cls_formula(join_levels(crossed.cls_logits), join_levels(theirs.cls_logits), counted)
        weight = join_levels(theirs.best_scores()).squeeze(-1).detach() * counted
        if self.distributions:
            boxes = self._sides(crossed, theirs, weight)
        else:
            boxes = self._boxes(crossed, theirs, weight, context.teacher) / positives
        return self.cls_weight * classes / positives + self.box_weight * boxes

    def cross(self, student: TowerRecord, teacher: TowerRecord) -> TowerRecord:
        """The teacher's record with the student's features; levels that the student lacks keep the teacher's."""
        features = {}
        for align, (name, pairs) in zip(self.aligns, self.pairs.items(), strict=True):
            levels = [level.detach() for level in getattr(teacher, name)]
            for pair in pairs:
                own = align(getattr(student, name)[pair.student].squeeze(1))
                levels[pair.teacher] = with_statistics_of(levels[pair.teacher].squeeze(1), own).unsqueeze(1)
            features[name] = levels
        return replace(teacher, **features)

    def _counted(self, teacher: TowerRecord, targets: Any) -> Tensor:
        """1 for anchors on the levels of both that are not ignored, 0 for others, float32 [N, P]."""
        shared = {pair.teacher for pair in self.pairs["cls_features"]}
        levels = [
            paddle.full([level.shape[1] * level.shape[3] * level.shape[4]], float(i in shared))
            for i, level in enumerate(teacher.cls_logits)
        ]
        return (targets.labels >= 0).astype("float32") * paddle.concat(levels)

    def _sides(self, crossed: TowerRecord, teacher: TowerRecord, weight: Tensor) -> Tensor:
        ours, theirs = (join_levels(cast(DistributionRecord, record).box_dist) for record in (crossed, teacher))
        bins = ours.shape[-1] // 4
        rows = [one.reshape([-1, bins]) for one in (ours, theirs)]
        divergence = self.side_formula(*rows, weight=weight.flatten().repeat_interleave(4))
        return divergence * (bins / 4) / over_batch(weight.sum()).clip(min=EPS)

    def _boxes(self, crossed: TowerRecord, teacher: TowerRecord, weight: Tensor, guide: FrozenTeacher) -> Tensor:
        ours, theirs = (paddle.concat(guide.boxes(record), axis=1) for record in (crossed, teacher))
        return self.box_formula(ours, theirs.detach(), weight)


def with_statistics_of(model: Tensor, feature: Tensor) -> Tensor:
    """``feature`` [N, C, H, W] with the mean and the deviation, over images and cells, of each channel of ``model``."""
    channels = model.shape[1]
    mean = model.mean(axis=[0, 2, 3], keepdim=True)
    gap = model - mean
    return F.batch_norm(
        feature,
        paddle.zeros([channels]),
        paddle.ones([channels]),
        weight=(gap * gap).mean(axis=[0, 2, 3]).sqrt(),
        bias=mean.flatten(),
        training=True,
        epsilon=1e-12,
    )


def _places(spec: DetectorSpec) -> list[tuple[int, int]]:
    return [(level.stride, level.anchors) for level in spec.entries["cls_logits"]]
