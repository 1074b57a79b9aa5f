"""The classic L2 distillation: regress the teacher's raw outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.loss import DistillLoss, Wiring
from ppkd.distill.pairing import common_levels
from ppkd.distill.side import Progress, Side
from ppkd.structures import DetectorSpec
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError


@register
class OutputL2(DistillLoss):
    """Mean squared difference of the raw output maps of the heads, summed over the paired levels.

    The mean runs over images, anchors, cells and all numbers that the head gives per anchor, as if its output were
    one map (Ba and Caruana, "Do Deep Nets Really Need to be Deep?", on a detector's head).

    Args:
        student: what the student records.
        teacher: what the teacher records.
        consumes: head entries to compare, all with as many anchors; by default all that both record cell by cell.
        wiring: see :class:`Wiring`. The weight 100 is PaddlePaddle's setting for YOLOv3.

    Raises:
        SpecError: the two share no head entry, their classes or anchors differ, or an entry's anchors from another's.
    """

    paper = "1312.6184"
    default_weight = 100.0

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        consumes: Sequence[str] | None = None,
        **wiring: Unpack[Wiring],
    ) -> None:
        entries = consumes if consumes is not None else shared_head_entries(student, teacher)
        super().__init__(student, teacher, consumes=entries, kind="grid", **wiring)
        _require_one_map(student, self.consumes)
        self.levels = common_levels(type(self).__name__, self.pairs, student, teacher)

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        losses = []
        for level in self.levels:
            entries = list(zip(self.consumes, level, strict=True))
            predicted = paddle.concat([student.record[name][pair.student] for name, pair in entries], axis=2)
            wanted = paddle.concat([teacher.record[name][pair.teacher] for name, pair in entries], axis=2)
            losses.append(F.mse_loss(predicted, wanted.detach()))
        return paddle.add_n(losses)


def shared_head_entries(student: DetectorSpec, teacher: DetectorSpec) -> tuple[str, ...]:
    """Outputs of the head that both detectors record cell by cell, in the student's order.

    Raises :class:`SpecError` if there is none.
    """
    of_teacher = _head_entries(teacher)
    shared = tuple(name for name in _head_entries(student) if name in of_teacher)
    if not shared:
        raise SpecError(
            f"OutputL2 compares head entries cell by cell, but {student.name} records {sorted(student.entries)} and "
            f"{teacher.name} {sorted(teacher.entries)}: they share none"
        )
    return shared


def _head_entries(spec: DetectorSpec) -> tuple[str, ...]:
    return spec.of("class", "box", "quality", "mask", kind="grid")


def _require_one_map(spec: DetectorSpec, names: Sequence[str]) -> None:
    """Raise :class:`SpecError` unless the entries are the head's, with as many anchors, so that they make one map."""
    if features := [name for name in names if spec.entries[name].role == "feature"]:
        raise SpecError(
            f"OutputL2.consumes names {features}, which are features of {spec.name}: choose among {_head_entries(spec)}"
        )
    anchors = {name: spec.entries[name].levels[0].anchors for name in names}
    if len(set(anchors.values())) > 1:
        raise SpecError(
            f"OutputL2 compares all numbers of an anchor together, but {spec.name} has {anchors} (anchors by entry): "
            "set consumes to entries that agree"
        )
