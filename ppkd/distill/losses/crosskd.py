"""CrossKD: the student's features through the teacher's head (Wang et al., CVPR 2024, arXiv 2306.11369)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.divergence import KDQualityFocalLoss, KnowledgeDistillationKLDivLoss
from ppkd.distill.explanation import CellMap, Explanation
from ppkd.distill.loss import DistillLoss, Needs, Wiring
from ppkd.distill.maps import align_conv
from ppkd.distill.side import Progress, Side
from ppkd.models.assigners.place_targets import PlaceTargets
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.postprocess.dense_decode import count_places, join_levels
from ppkd.structures import Basis, DetectorSpec, Record, best_scores
from ppkd.structures.truth import Truth

EPS = 1e-6
_READ_SCORES = (
    "The best score of each cell: the crossed one is what the teacher's head says of the student's features, and shall "
    "become the teacher's; where it is but the student's own is not, the student's head lags behind its features."
)
_READ_GAP = "How far the crossed score is from the teacher's: bright cells are where the loss has something to teach."
TOWERS = ("cls_features", "box_features")
BOX_WEIGHTS = {"distribution": 4.0, "deltas": 1.0}
"""Published by the teacher's coding of boxes: for GFL, and for RetinaNet. Nothing is published for other codings: 1."""


@register
class CrossKD(DistillLoss):
    """The last layers of the teacher's head on the student's features shall predict what the teacher predicts.

    So the student's own outputs learn from the boxes alone, its backbone, neck and towers from the teacher too. The
    features are those before the last convolution of each tower, the published place in towers of four. In PicoDet's
    one tower that is before its last depthwise convolution; PP-YOLOE+ has no towers: its whole head goes on from the
    necks' maps. They get the teacher's mean and deviation in each channel (:func:`with_statistics_of`) before the
    teacher's head goes on.

    * Classes: :class:`KDQualityFocalLoss` over all anchors that the assigner does not ignore, divided by the number of
      positive ones.
    * Boxes, each weighted by the teacher's highest score there: of a teacher with distributions of sides, their
      divergence (the sum over bins, mean over sides), divided by the sum of the weights; of one with any other coding
      1 - GIoU of the decoded boxes, divided by the number of positive anchors.

    Everything is compared in the teacher's terms: classes, anchors and kind of boxes of the student may be others. The
    anchors are those of the student's own assignment where both detectors have the same, else of the teacher's.

    Args:
        student: what the student records.
        teacher: what the teacher records; where the towers' channels differ, a 1x1 convolution for each tower, of
            towers with other channels on each level one for each, aligns the student's. It is not the paper's.
        cls_weight: factor on the classes' part.
        box_weight: factor on the boxes' part; by default 4 for distributions and 1 for other codings.
        beta: how fast the classes' part fades where the teacher is met.
        T: temperature of the distributions.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: one of the two records no features of towers, no levels pair, or the teacher's head cannot go on
            from such features.
    """

    paper = "2306.11369"
    needs_truth = True

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        cls_weight: float = 1.0,
        box_weight: float | None = None,
        beta: float = 1.0,
        T: float = 1.0,
        **wiring: Unpack[Wiring],
    ) -> None:
        asker = type(self).__name__
        classes, boxes = (teacher.require_role(role, asker, kind="grid") for role in ("class", "box"))
        teacher.require_activation(classes, "sigmoid", asker)
        coding = teacher.entries[boxes].coding
        same_places = _places(student) == _places(teacher)
        decoded = () if coding == "distribution" else ("boxes",)
        needs = Needs(student=("assign",) if same_places else (), teacher=("assign", "complete", *decoded))
        super().__init__(student, teacher, consumes=TOWERS, needs=needs, kind="grid", **wiring)
        self.classes, self.boxes, self.coding, self.same_places = classes, boxes, coding, same_places
        self.cls_weight = cls_weight
        self.box_weight = BOX_WEIGHTS.get(coding, 1.0) if box_weight is None else box_weight
        self.cls_formula = KDQualityFocalLoss(beta=beta)
        self.side_formula = KnowledgeDistillationKLDivLoss(reduction="sum", T=T)
        self.box_formula = GIoULoss()
        self.aligns = nn.LayerList([_aligns(self.channels[tower]) for tower in TOWERS])

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        crossed = teacher.complete(self.cross(student.record, teacher.record))
        targets = student.targets if self.same_places else None
        if targets is None:
            targets = teacher.assign(truth)
        counted = self._counted(teacher.record, targets)
        positives = over_batch(targets.positive.sum(axis=1).clip(min=1).sum())
        predicted, wanted = (join_levels(record[self.classes]) for record in (crossed, teacher.record))
        classes = self.cls_formula(predicted, wanted, counted)
        weight = join_levels(best_scores(teacher.record)).squeeze(-1).detach() * counted
        if self.coding == "distribution":
            boxes = self._sides(crossed, teacher.record, weight)
        else:
            boxes = self._decoded(crossed, teacher, weight) / positives
        return self.cls_weight * classes / positives + self.box_weight * boxes

    @paddle.no_grad()
    def explain(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Explanation:
        """The best scores of the teacher, of the teacher's head on the student's features, and of the student."""
        crossed = teacher.complete(self.cross(student.record, teacher.record))
        records = {"teacher's score": teacher.record, "crossed score": crossed, "student's score": student.record}
        maps = []
        for title, record in records.items():
            best = best_scores(record)
            for pair in self.pairs["cls_features"]:
                level = best[pair.student if record is student.record else pair.teacher]
                maps.append(CellMap(title, pair.stride, level.max(axis=[1, 2]), _READ_SCORES, "score"))
        apart = [
            (level - other).abs()
            for level, other in zip(best_scores(crossed), best_scores(teacher.record), strict=True)
        ]
        for pair in self.pairs["cls_features"]:
            gap = apart[pair.teacher].max(axis=[1, 2])
            maps.append(CellMap("crossed score to teacher's", pair.stride, gap, _READ_GAP, "gap", disagrees=True))
        return Explanation(maps)

    def cross(self, student: Record, teacher: Record) -> Record:
        """The teacher's record with the student's features; levels that the student lacks keep the teacher's."""
        features = {}
        for aligns, (name, pairs) in zip(self.aligns, self.pairs.items(), strict=True):
            levels = [level.detach() for level in teacher[name]]
            for i, pair in enumerate(pairs):
                own = aligns[min(i, len(aligns) - 1)](student[name][pair.student].squeeze(1))
                levels[pair.teacher] = with_statistics_of(levels[pair.teacher].squeeze(1), own).unsqueeze(1)
            features[name] = levels
        return teacher.replaced(features)

    def _counted(self, teacher: Record, targets: PlaceTargets) -> Tensor:
        """1 for anchors on the levels of both that are not ignored, 0 for others, float32 [N, P]."""
        shared = {pair.teacher for pair in self.pairs["cls_features"]}
        counts = count_places(teacher[self.classes])
        levels = [paddle.full([count], float(i in shared)) for i, count in enumerate(counts)]
        return (targets.labels >= 0).astype("float32") * paddle.concat(levels)

    def _sides(self, crossed: Record, teacher: Record, weight: Tensor) -> Tensor:
        predicted, wanted = (join_levels(record[self.boxes]) for record in (crossed, teacher))
        bins = predicted.shape[-1] // 4
        rows = [sides.reshape([-1, bins]) for sides in (predicted, wanted)]
        divergence = self.side_formula(*rows, weight=weight.flatten().repeat_interleave(4))
        return divergence * (bins / 4) / over_batch(weight.sum()).clip(min=EPS)

    def _decoded(self, crossed: Record, teacher: Side, weight: Tensor) -> Tensor:
        predicted, wanted = (paddle.concat(levels, axis=1) for levels in (teacher.boxes(crossed), teacher.boxes()))
        return self.box_formula(predicted, wanted.detach(), weight)


def with_statistics_of(model: Tensor, feature: Tensor) -> Tensor:
    """``feature`` [N, C, H, W] with the mean and the deviation, over images and cells, of each channel of ``model``.

    The images are those given, not those of other processes or accumulated batches.
    """
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


def _places(spec: DetectorSpec) -> list[tuple[int, int, Basis | None]]:
    """Stride, number and sizes of the anchors of every level at which the head gives classes; empty without a grid."""
    return [
        (level.stride, level.anchors, None if entry.basis is None else entry.basis.at(i))
        for entry in (spec.entries[name] for name in spec.of("class", kind="grid"))
        for i, level in enumerate(entry.levels)
    ]


def _aligns(channels: Sequence[tuple[int, int]]) -> nn.LayerList:
    """What brings a tower's features to the teacher's: one layer for all levels if it can serve all, else one each."""
    widths = channels if len(set(channels)) > 1 else channels[:1]
    return nn.LayerList([align_conv(*pair, bias=False) or nn.Identity() for pair in widths])
