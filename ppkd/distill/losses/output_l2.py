"""The classic L2 distillation: regress the teacher's raw outputs."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.loss import DistillLoss
from ppkd.distill.schedule import WeightSchedule
from ppkd.structures import DetectorSpec, Record
from ppkd.utils.errors import SpecError


@register
class OutputL2(DistillLoss):
    """Mean squared difference of the raw output maps of the heads, summed over the paired levels.

    The mean runs over images, anchors, cells and all numbers that the head gives per anchor, as if its output were
    one map (Ba and Caruana, "Do Deep Nets Really Need to be Deep?", on a detector's head).

    Args:
        student: what the student records.
        teacher: what the teacher records.
        consumes: head entries to compare; by default all that both record.
        weight: factor on the loss in the total; 100 is PaddlePaddle's setting for YOLOv3.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: the two share no head entry, or their classes or anchors differ.
    """

    paper = "1312.6184"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        consumes: Sequence[str] | None = None,
        weight: float = 100.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        entries = consumes if consumes is not None else shared_head_entries(student, teacher)
        require_maps(type(self).__name__, entries, student, teacher)
        super().__init__(student, teacher, consumes=entries, weight=weight, schedule=schedule)

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""
        levels = zip(*(self.pairs[name] for name in self.consumes), strict=True)
        losses = []
        for level in levels:
            entries = list(zip(self.consumes, level, strict=True))
            ours = paddle.concat([getattr(student, name)[pair.student] for name, pair in entries], axis=2)
            theirs = paddle.concat([getattr(teacher, name)[pair.teacher] for name, pair in entries], axis=2)
            losses.append(F.mse_loss(ours, theirs))
        return paddle.add_n(losses)


def shared_head_entries(student: DetectorSpec, teacher: DetectorSpec) -> tuple[str, ...]:
    """Outputs of the head that both detectors record per cell, in the student's order."""
    shared = tuple(
        name
        for name, levels in student.entries.items()
        if name in teacher.entries and name not in FEATURES and levels[0].stride != PER_PROPOSAL
    )
    if not shared:
        raise SpecError(
            f"OutputL2 compares head entries, but {student.name} records {sorted(student.entries)} and "
            f"{teacher.name} {sorted(teacher.entries)}: they share none"
        )
    return shared
