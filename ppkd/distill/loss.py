"""The base of distillation losses: what they consume, how levels pair, how much they weigh."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from paddle import Tensor, nn

from ppkd.distill.preparation import Material
from ppkd.distill.schedule import WeightSchedule
from ppkd.distill.teacher import FrozenTeacher
from ppkd.models.detectors.detector import Detector
from ppkd.structures import FEATURES, PER_PROPOSAL, Batch, DetectorSpec, LevelSpec, Record
from ppkd.utils.errors import SpecError


@dataclass(frozen=True)
class Context:
    """What a loss may look at besides the two records.

    Attributes:
        batch: the batch that the records are of.
        targets: the student's assignment of the labelled images, ``None`` when no image of the batch is labelled.
        epoch: how far training is; 1.5 is the middle of the second epoch.
        teacher: whose head goes on from a loss's features, in a distillation model always there.
        student: for what it alone can tell of its record, boxes or targets for other boxes; there as the teacher is.
    """

    batch: Batch
    targets: Any | None
    epoch: float = 0.0
    teacher: FrozenTeacher | None = None
    student: Detector | None = None


@dataclass(frozen=True)
class LevelPair:
    """One level of the student and one of the teacher that have the same stride: positions in their records."""

    student: int
    teacher: int
    stride: int


class DistillLoss(nn.Layer):
    """Wires a formula to the records of a student and a teacher.

    A subclass builds its adapters from the two specs in its constructor and computes one unweighted scalar in
    :meth:`forward`. It names no detector: any pair that records what it ``consumes`` will do.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        consumes: entries of both records that the loss reads.
        weight: factor on the loss in the total.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: an entry is not recorded, no level pairs, or class counts or anchors of paired levels differ.
    """

    paper: ClassVar[str] = ""
    """The arXiv number of the paper that the loss is from, or its id at OpenReview where it has none."""
    needs_ground_truth: ClassVar[bool] = False

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        consumes: Sequence[str],
        weight: float = 1.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        super().__init__()
        self.consumes = tuple(consumes)
        self.weight = weight
        self.schedule = schedule or WeightSchedule()
        for spec in (student, teacher):
            spec.offers(self.consumes, asker=type(self).__name__)
        self.pairs = {name: self._pair(name, student, teacher) for name in self.consumes}

    @abstractmethod
    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""

    def due(self, epoch: int) -> bool:
        """Whether :meth:`prepare` must be called before the first step of ``epoch``; most losses need no such thing."""
        return False

    def prepare(self, epoch: int, material: Material) -> None:
        """Make what the loss needs from the training set and both detectors, in evaluation mode without gradients.

        What is to survive a resume belongs into buffers: they are saved with the adapters. A loss that was never
        prepared must still have a value.
        """

    def weight_at(self, epoch: float) -> float:
        """The weight in force at ``epoch``."""
        return self.weight * self.schedule.factor(epoch)

    def _pair(self, name: str, student: DetectorSpec, teacher: DetectorSpec) -> tuple[LevelPair, ...]:
        pairs = pair_levels(student.entries[name], teacher.entries[name])
        asker = type(self).__name__
        if not pairs:
            strides = [[level.stride for level in spec.entries[name]] for spec in (student, teacher)]
            raise SpecError(
                f"{asker}: no level of {name} has the same stride in {student.name} {strides[0]} and "
                f"{teacher.name} {strides[1]}"
            )
        if name not in FEATURES:
            for pair in pairs:
                ours, theirs = student.entries[name][pair.student], teacher.entries[name][pair.teacher]
                if ours != theirs:
                    raise SpecError(
                        f"{asker}: {name} at stride {pair.stride} differs: {student.name} has {ours.channels} channels "
                        f"x {ours.anchors} anchors, {teacher.name} {theirs.channels} x {theirs.anchors}. "
                        "Give both detectors the same num_classes and anchors."
                    )
        return pairs


def pair_levels(student: Sequence[LevelSpec], teacher: Sequence[LevelSpec]) -> tuple[LevelPair, ...]:
    """Pairs of levels of equal stride, in the student's order; pyramids of different depth pair where they meet."""
    by_stride = {level.stride: index for index, level in enumerate(teacher)}
    return tuple(
        LevelPair(index, by_stride[level.stride], level.stride)
        for index, level in enumerate(student)
        if level.stride in by_stride
    )


def require_maps(asker: str, names: Sequence[str], *specs: DetectorSpec) -> None:
    """Raise :class:`SpecError` if one of ``specs`` records an entry of ``names`` per proposal instead of per cell."""
    for spec in specs:
        per_proposal = [name for name, levels in spec.entries.items() if levels[0].stride == PER_PROPOSAL]
        if wrong := [name for name in names if name in per_proposal]:
            raise SpecError(
                f"{asker} compares maps cell by cell, but {spec.name} records {wrong} per proposal. Choose among "
                f"{sorted(set(spec.entries) - set(per_proposal))}, or a loss on proposals."
            )
