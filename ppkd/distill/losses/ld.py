"""LD: localisation distillation (Zheng et al., CVPR 2022, arXiv 2102.12252; TPAMI 2023, arXiv 2204.05957)."""

from __future__ import annotations

from typing import Unpack

import paddle
from paddle import Tensor

from ppkd.config import register
from ppkd.distill.cells.regions import RegionFinder, Regions
from ppkd.distill.loss import Wiring
from ppkd.distill.region_kd import Region, RegionKD
from ppkd.distill.side import Progress, Side
from ppkd.models.losses.normaliser import sum_over_batch
from ppkd.structures import DetectorSpec, Record, best_scores
from ppkd.structures.truth import Truth

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

    The sum is over all images of an update, however many processes and accumulated batches they are divided among. The
    published code sums over each process's images, 2 or 3, and averages over processes: with n processes divide the
    weight by n to repeat it.

    Published are both, with weight 0.25 and T 10 each. A teacher of the student's architecture makes it Self-LD. The
    classes of the two detectors may differ.

    Args:
        student: what the student records.
        teacher: what the teacher records, distributions of as many bins.
        region: where to distil.
        T: temperature.
        finder: how the regions are found; the defaults are those of the published numbers.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: one of the two records no box distributions, their bins differ, or the student has no classes to
            weigh the main region by.
    """

    default_weight = 0.25
    entry = "box_dist"
    parts = 4

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        region: Region = "main",
        T: float = 10.0,
        finder: RegionFinder | None = None,
        **wiring: Unpack[Wiring],
    ) -> None:
        super().__init__(student, teacher, region=region, T=T, finder=finder, **wiring)
        if region == "main":
            student.require_role("class", "LD", kind="grid")

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        return sum_over_batch(super().forward(student, teacher, truth, at)) / DIVISOR[self.region]

    def weights(self, record: Record, regions: Regions) -> list[Tensor]:
        """The weight of its cell for each of the four sides."""
        sides = [self.parts * level.anchors for level in record.spec.entries[self.entry].levels]
        cells = self._cells(record, regions)
        return [level.flatten().repeat_interleave(count) for level, count in zip(cells, sides, strict=True)]

    def _cells(self, record: Record, regions: Regions) -> list[Tensor]:
        if self.region == "valuable":
            return regions.valuable()
        with paddle.no_grad():
            scores = best_scores(record)
        return [
            best.max(axis=[1, 2]).flatten(1) * main.astype("float32")
            for best, main in zip(scores, regions.main(), strict=True)
        ]
