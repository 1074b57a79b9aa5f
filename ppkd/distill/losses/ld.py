"""LD: localisation distillation (Zheng et al., CVPR 2022, arXiv 2102.12252; TPAMI 2023, arXiv 2204.05957)."""

from __future__ import annotations

from typing import Literal, cast

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.loss import Context, DistillLoss
from ppkd.distill.losses.kd_kl_div import KnowledgeDistillationKLDivLoss
from ppkd.distill.losses.regions import RegionFinder
from ppkd.distill.schedule import WeightSchedule
from ppkd.structures import DetectorSpec, DistributionRecord, Record

DIVISOR = {"main": 4.0, "valuable": 16.0}
"""What the published code divides the sum over cells and sides by."""


@register
class LD(DistillLoss):
    """The teacher's distributions of the four distances to a box's sides, taught by Hinton's divergence.

    The sum over cells of weight times the sum over sides of :class:`KnowledgeDistillationKLDivLoss`, where

    * ``main`` weighs the cells that are assigned to a box by the student's highest class probability, detached, and
      divides by 4. As published it is not divided by the sum of these weights, which GFL's own box losses are;
    * ``valuable`` weighs the cells of the valuable localisation region by their overlap with the box and divides by 16.

    GFLV2's published weight in the main region is its joint score; records hold no quality, so the class decides there.

    Published are both, with weight 0.25 and T 10 each. A teacher of the student's architecture makes it Self-LD. The
    classes of the two detectors may differ.

    Args:
        student: what the student records.
        teacher: what the teacher records, distributions of as many bins.
        region: where to distil.
        T: temperature.
        finder: how the regions are found; the defaults are those of the published numbers.
        weight: factor on the loss in the total.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: one of the two records no box distributions, or their bins differ.
    """

    paper = "2102.12252"
    needs_ground_truth = True

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        region: Literal["main", "valuable"] = "main",
        T: float = 10.0,
        finder: RegionFinder | None = None,
        weight: float = 0.25,
        schedule: WeightSchedule | None = None,
    ) -> None:
        super().__init__(student, teacher, consumes=["box_dist"], weight=weight, schedule=schedule)
        self.region = region
        self.finder = finder or RegionFinder()
        self.strides = [level.stride for level in student.entries["box_dist"]]
        self.formula = KnowledgeDistillationKLDivLoss(reduction="sum", T=T)

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""
        ours, theirs = cast(DistributionRecord, student), cast(DistributionRecord, teacher)
        weights = self._weights(ours, context)
        pairs = self.pairs["box_dist"]
        value = self.formula(
            paddle.concat([_sides(ours.box_dist[pair.student]) for pair in pairs]),
            paddle.concat([_sides(theirs.box_dist[pair.teacher]) for pair in pairs]),
            weight=paddle.concat([weights[pair.student].flatten().repeat_interleave(4) for pair in pairs]),
        )
        return value / DIVISOR[self.region]

    def _weights(self, student: DistributionRecord, context: Context) -> list[Tensor]:
        """The weight of every cell, [N, H * W] per level."""
        regions = self.finder([level.shape[-2:] for level in student.box_dist], self.strides, context)
        if self.region == "valuable":
            return regions.valuable()
        return [
            F.sigmoid(logits.detach().max(axis=[1, 2])).flatten(1) * main.astype("float32")
            for logits, main in zip(student.cls_logits, regions.main(), strict=True)
        ]


def _sides(level: Tensor) -> Tensor:
    """Distributions [N, 1, 4 * bins, H, W] as rows (N * H * W * 4, bins)."""
    images, _, channels = level.shape[:3]
    return level.reshape([images, 4, channels // 4, -1]).transpose([0, 3, 1, 2]).reshape([-1, channels // 4])
