"""What the losses share that compare distributions in the regions of localisation distillation."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import paddle
from paddle import Tensor

from ppkd.distill.cells.regions import RegionFinder, Regions
from ppkd.distill.loss import DistillLoss
from ppkd.distill.losses.kd_kl_div import KnowledgeDistillationKLDivLoss
from ppkd.distill.schedule import WeightSchedule
from ppkd.structures import DetectorSpec, Record

Region = Literal["main", "valuable"]


class RegionKD(DistillLoss):
    """The sum over all rows of one ``entry`` of weight times :class:`KnowledgeDistillationKLDivLoss`.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        entry: what of both records is compared; a subclass makes it rows of logits.
        region: where to distil.
        T: temperature.
        finder: how the regions are found; the defaults are those of the published numbers.
        weight: factor on the loss in the total.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: one of the two does not record the entry, or its channels or anchors differ.
    """

    paper = "2102.12252"
    needs_ground_truth = True

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        entry: str,
        region: Region,
        T: float,
        finder: RegionFinder | None,
        weight: float,
        schedule: WeightSchedule | None,
    ) -> None:
        super().__init__(student, teacher, consumes=[entry], weight=weight, schedule=schedule)
        self.entry = entry
        self.region = region
        self.finder = finder or RegionFinder()
        self.strides = [level.stride for level in student.entries[entry]]
        self.formula = KnowledgeDistillationKLDivLoss(reduction="sum", T=T)

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""
        ours, theirs = student.tensors(self.entry), teacher.tensors(self.entry)
        weights = self.weights(student, self.finder([level.shape[-2:] for level in ours], self.strides, context))
        pairs = self.pairs[self.entry]
        return self.formula(
            paddle.concat([self.rows(ours[pair.student]) for pair in pairs]),
            paddle.concat([self.rows(theirs[pair.teacher]) for pair in pairs]),
            weight=paddle.concat([weights[pair.student] for pair in pairs]),
        )

    @abstractmethod
    def rows(self, level: Tensor) -> Tensor:
        """Logits [M, n] of a level of the entry."""

    @abstractmethod
    def weights(self, student: Record, regions: Regions) -> list[Tensor]:
        """The weight of every row of the student's entry, float32 [M] per level, without gradient."""
