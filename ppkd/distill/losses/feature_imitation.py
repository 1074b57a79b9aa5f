"""Imitation of the teacher's neck in chosen cells, as it accompanies localisation distillation."""

from __future__ import annotations

from typing import Literal, cast

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.distill.cells.regions import RegionFinder, Regions
from ppkd.distill.loss import DistillLoss
from ppkd.distill.losses.general_instances import general_instances
from ppkd.distill.maps import align_conv
from ppkd.distill.pairing import LevelPair
from ppkd.distill.schedule import WeightSchedule
from ppkd.models.losses.normaliser import over_batch
from ppkd.structures import DetectorSpec, Record

BACKGROUND = 2.0
"""Factor on the cells outside of boxes under ``decouple``."""


@register
class FeatureImitation(DistillLoss):
    """Mean squared difference of two necks over the chosen cells of each level, summed over levels.

    A level where no cell is assigned to a box gives 0, as published (Zheng et al., arXiv 2204.05957).

    Args:
        student: what the student records.
        teacher: what the teacher records; where channels differ, a 1x1 convolution aligns the student's.
        region: the cells. ``finegrained``: those whose anchor overlaps a box more than half as much as its best anchor
            (arXiv 1906.03609). ``fitnet``: those inside of a box. ``decouple``: the same, plus twice the mean over
            those outside (DeFeat, arXiv 2103.14475). ``gibox``: those where the two detectors disagree most
            (:func:`general_instances`); it also reads class logits and box distributions.
        finder: how regions are found; the defaults are those of the published numbers.
        weight: factor on the loss in the total; published are 0.2 to 2.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: one of the two does not record what the region needs.
    """

    paper = "2204.05957"
    needs_ground_truth = True

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        region: Literal["finegrained", "fitnet", "decouple", "gibox"] = "finegrained",
        finder: RegionFinder | None = None,
        weight: float = 2.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        consumes = ["neck", "cls_logits", "box_dist"] if region == "gibox" else ["neck"]
        super().__init__(student, teacher, consumes=consumes, weight=weight, schedule=schedule)
        self.region = region
        self.finder = finder or RegionFinder()
        levels, theirs = student.entries["neck"], teacher.entries["neck"]
        self.strides = [level.stride for level in levels]
        aligns = [align_conv(levels[p.student].channels, theirs[p.teacher].channels) for p in self.pairs["neck"]]
        self.aligns = nn.LayerList([align or nn.Identity() for align in aligns])

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""
        regions = self.finder([level.shape[-2:] for level in student.neck], self.strides, context)
        assigned = regions.main()
        cells = self._cells(student, teacher, regions)
        losses = []
        for align, pair, chosen in zip(self.aligns, self.pairs["neck"], cells, strict=True):
            gap = align(student.neck[pair.student]) - teacher.neck[pair.teacher].detach()
            error = (gap * gap).mean(axis=1).flatten(1)
            value = _mean(error, chosen)
            if self.region == "decouple":
                value = value + BACKGROUND * _mean(error, ~chosen)
            losses.append(value * (over_batch(assigned[pair.student].astype("float32").sum()) > 0).astype("float32"))
        return paddle.add_n(losses)

    def _cells(self, student: Record, teacher: Record, regions: Regions) -> list[Tensor]:
        """The chosen cells of every pair of levels, bool [N, H * W]."""
        pairs = self.pairs["neck"]
        if self.region == "gibox":
            ours, theirs = cast(DistributionRecord, student), cast(DistributionRecord, teacher)
            return [_disagreement(ours, theirs, pair) for pair in pairs]
        found = regions.fine_grained() if self.region == "finegrained" else regions.inside()
        return [found[pair.student] for pair in pairs]


def _disagreement(ours: DistributionRecord, theirs: DistributionRecord, pair: LevelPair) -> Tensor:
    return general_instances(
        (ours.cls_logits[pair.student], ours.box_dist[pair.student]),
        (theirs.cls_logits[pair.teacher], theirs.box_dist[pair.teacher]),
    )


def _mean(error: Tensor, cells: Tensor) -> Tensor:
    """The mean of ``error`` [N, H * W] over the true ``cells``, 0 if there are none."""
    chosen = cells.astype("float32")
    return (error * chosen).sum() / over_batch(chosen.sum()).clip(min=1)
