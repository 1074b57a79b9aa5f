"""LD: localisation distillation (Zheng et al., CVPR 2022, arXiv 2102.12252; TPAMI 2023, arXiv 2204.05957)."""

from __future__ import annotations

from typing import cast

import paddle
from paddle import Tensor

from ppkd.config import register
from ppkd.distill.cells.regions import RegionFinder, Regions
from ppkd.distill.losses.region_kd import Region, RegionKD
from ppkd.distill.schedule import WeightSchedule
from ppkd.structures import DetectorSpec, Record

DIVISOR = {"main": 4.0, "valuable": 16.0}
"""What the published code divides the sum over cells and sides by."""


@register
class LD(RegionKD):
    """The teacher's distributions of the four distances to a box's sides, taught by Hinton's divergence.

    The sum over cells of weight times the sum over sides of :class:`KnowledgeDistillationKLDivLoss`, where

    * ``main`` weighs the cells that are assigned to a box by the student's highest score, detached, and divides by 4:
      by the probability of the class and, where the record has one, its quality, as published for GFLV2. It is not
      divided by the sum of these weights, which GFL's own box losses are;
    * ``valuable`` weighs the cells of the valuable localisation region by their overlap with the box and divides by 16.

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

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        region: Region = "main",
        T: float = 10.0,
        finder: RegionFinder | None = None,
        weight: float = 0.25,
        schedule: WeightSchedule | None = None,
    ) -> None:
        super().__init__(
            student, teacher, entry="box_dist", region=region, T=T, finder=finder, weight=weight, schedule=schedule
        )

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""
        return super().forward(student, teacher, context) / DIVISOR[self.region]

    def rows(self, level: Tensor) -> Tensor:
        """Distributions [N, 1, 4 * bins, H, W] as [N * H * W * 4, bins]."""
        images, _, channels = level.shape[:3]
        return level.reshape([images, 4, channels // 4, -1]).transpose([0, 3, 1, 2]).reshape([-1, channels // 4])

    def weights(self, student: Record, regions: Regions) -> list[Tensor]:
        """The weight of its cell for each of the four sides."""
        return [cells.flatten().repeat_interleave(4) for cells in self._cells(student, regions)]

    def _cells(self, student: Record, regions: Regions) -> list[Tensor]:
        if self.region == "valuable":
            return regions.valuable()
        with paddle.no_grad():
            scores = cast(DenseRecord, student).best_scores()
        return [
            best.max(axis=[1, 2]).flatten(1) * main.astype("float32")
            for best, main in zip(scores, regions.main(), strict=True)
        ]
