"""What the losses share that compare distributions in the regions of localisation distillation."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, Unpack

import paddle
from paddle import Tensor

from ppkd.distill.cells.regions import RegionFinder, Regions
from ppkd.distill.divergence import KnowledgeDistillationKLDivLoss
from ppkd.distill.loss import DistillLoss, Needs, Wiring
from ppkd.distill.side import Progress, Side
from ppkd.models.postprocess.dense_decode import by_anchor
from ppkd.structures import DetectorSpec, Record
from ppkd.structures.truth import Truth

Region = Literal["main", "valuable"]


class RegionKD(DistillLoss):
    """The sum over all distributions of one entry of weight times :class:`KnowledgeDistillationKLDivLoss`.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        region: where to distil.
        T: temperature.
        finder: how the regions are found; the defaults are those of the published numbers.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: one of the two does not record the entry cell by cell, its channels or anchors differ, or the student
            assigns nothing.
    """

    paper = "2102.12252"
    needs_truth = True
    entry: ClassVar[str]
    """What of both records is compared."""
    parts: ClassVar[int] = 1
    """How many distributions an anchor has in that entry."""

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        region: Region,
        T: float,
        finder: RegionFinder | None,
        **wiring: Unpack[Wiring],
    ) -> None:
        needs = Needs(student=("assign",))
        super().__init__(student, teacher, consumes=[self.entry], needs=needs, kind="grid", **wiring)
        self.region = region
        self.finder = finder or RegionFinder()
        self.strides = student.entries[self.entry].strides
        self.formula = KnowledgeDistillationKLDivLoss(reduction="sum", T=T)

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        levels, soft_levels = student.record[self.entry], teacher.record[self.entry]
        regions = self.finder([level.shape[-2:] for level in levels], self.strides, student, truth)
        weights = self.weights(student.record, regions)
        pairs = self.pairs[self.entry]
        return self.formula(
            paddle.concat([self._rows(levels[pair.student]) for pair in pairs]),
            paddle.concat([self._rows(soft_levels[pair.teacher]) for pair in pairs]),
            weight=paddle.concat([weights[pair.student] for pair in pairs]),
        )

    @abstractmethod
    def weights(self, record: Record, regions: Regions) -> list[Tensor]:
        """The weight of every distribution of the student's ``record``, float32 [N * H * W * A * parts] per level.

        They are without gradient.
        """

    def _rows(self, level: Tensor) -> Tensor:
        """The distributions [N * H * W * A * parts, n] of a level [N, A, parts * n, H, W]."""
        return by_anchor(level).reshape([-1, level.shape[2] // self.parts])
