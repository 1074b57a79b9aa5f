"""The distillation model: a student in training, frozen teachers, and the losses between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import Tensor, nn

from ppkd.data.training_set import TrainingSet
from ppkd.distill.balance import Balance
from ppkd.distill.gradients import gradients, neck_parameters
from ppkd.distill.labelled import labelled_images
from ppkd.distill.loss import DistillLoss
from ppkd.distill.pairing import check_same_places
from ppkd.distill.preparation import Material
from ppkd.distill.side import Progress, Side
from ppkd.distill.teacher import Teacher
from ppkd.models.casting import float32, full_precision
from ppkd.models.detectors.detector import Detector
from ppkd.models.modes import evaluation_mode
from ppkd.structures import Batch, Record
from ppkd.structures.abilities import chosen
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError

ONLY = "teacher"
"""The name of a teacher that is the only one."""


class DistillModel(nn.Layer):
    """One training step: the student's record, targets and task losses, each teacher's record, each distillation loss.

    ``student`` and ``losses`` (with their adapters) are sublayers and train; the teachers are not.

    Args:
        student: the detector to train.
        teachers: the teacher, or several by name; the first is the one of all losses that name none.
        losses: distillation losses by the name under which their weighted value is returned.
        learns_from: the names of the teachers of losses that do not learn from the first one.
        total_weight: factor on all terms, the task's included.
        teacher_targets_from: the epoch from which the student's assigner reads the first teacher's record instead of
            the student's, so that the task's losses and the distillation's have the targets of that teacher.

    Raises:
        SpecError: the student's assigner is to read a record that is not like its own.
        ConfigError: a weight is a share, but nothing of the neck is trained.
    """

    def __init__(
        self,
        student: Detector,
        teachers: Teacher | Mapping[str, Teacher],
        losses: Mapping[str, DistillLoss],
        learns_from: Mapping[str, str] | None = None,
        *,
        total_weight: float = 1.0,
        teacher_targets_from: float | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.teachers: dict[str, Teacher] = dict(teachers) if isinstance(teachers, Mapping) else {ONLY: teachers}
        self.losses = nn.LayerDict(dict(losses))
        self._learns_from = dict(learns_from or {})
        self._total_weight = total_weight
        self._teacher_targets_from = teacher_targets_from
        if teacher_targets_from is not None:
            check_same_places("student.teacher_targets_from", student.spec(), self.teacher.spec())
        self._progress = Progress()
        shares = {name: loss.gradient_share for name, loss in losses.items() if loss.gradient_share is not None}
        self.balance = Balance(shares) if shares else None
        if shares and not neck_parameters(student):
            raise ConfigError(f"losses.{next(iter(shares))}.weight is a share, but nothing of the neck is trained")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The student's task losses, every weighted distillation loss, and their sum under ``loss``.

        All have the factor of the total.

        Raises :class:`ConfigError` when a distillation loss has the name of one of the others.
        """
        losses = dict(self.losses.items())
        counted = {name: loss for name, loss in losses.items() if loss.weight_at(self._progress.epoch)}
        seen = self._compare(batch, losses, self._asked(counted))
        if self.balance is not None and self.balance.probing and paddle.is_grad_enabled():
            asked = [seen.raw.get(name) for name in self.balance.shares]
            self.balance.add(gradients([seen.total, *asked], neck_parameters(self.student)))
        terms = {name: self._total_weight * term for name, term in {**seen.task, **seen.distilled}.items()}
        return {**terms, "loss": paddle.add_n(list(terms.values()))}

    def compare(self, batch: Batch, losses: Mapping[str, DistillLoss]) -> Comparison:
        """All records of ``batch``, the task losses, and those of ``losses`` that it has the images for.

        Raises :class:`ConfigError` when a distillation loss has the name of one of the others.
        """
        return self._compare(batch, losses, self._asked(losses))

    def _compare(self, batch: Batch, losses: Mapping[str, DistillLoss], asked: Sequence[str]) -> Comparison:
        """:meth:`compare` with the records of the teachers ``asked`` alone."""
        known = labelled_images(batch)
        consumed = {entry for loss in losses.values() for entry in loss.consumes}
        record = self.student.extract(batch).thinned(consumed).map(float32)
        teachers = {name: self.teachers[name](batch, record).map(float32) for name in asked}
        truth, task = Truth.of(batch), {}
        if known is not None:
            own, boxes = known.of(record), known.of(truth)
            decides = known.of(teachers[next(iter(self.teachers))]) if self._taught_targets else own
            with full_precision():
                targets = self.student.assign(decides, boxes)
                task = dict(self.student.loss(own, targets))
        everything = self._view(record, teachers, truth)
        labelled = None
        if known is not None:
            part = {name: known.of(one) for name, one in teachers.items()}
            labelled = self._view(own, part, boxes, targets)
        with full_precision():
            distilled, raw, given = self._distill(losses, everything, labelled)
        for name in distilled.keys() & {*task, "loss"}:
            raise ConfigError(f"losses.{name}: the student has a loss term of that name; choose another key")
        return Comparison(record, teachers, task, distilled, raw, given)

    @property
    def teacher(self) -> Teacher:
        """The first teacher, of all losses that name none."""
        return next(iter(self.teachers.values()))

    def teacher_of(self, loss: str) -> str:
        """The name of the teacher that the loss of that name learns from."""
        return self._learns_from.get(loss, next(iter(self.teachers)))

    def deployable(self) -> Detector:
        """The bare student, as shipped."""
        return self.student

    def set_progress(self, epoch: float, step: int | None = None) -> None:
        """Tell the schedules, the balance and the student where training is; 1.5 is the middle of the second epoch.

        Weights that hold a share are found and change in the course of updates whose number, ``step``, is given.
        """
        self._progress = Progress(epoch)
        self.student.set_progress(epoch, step)
        if self.balance is not None and step is not None:
            self.balance.begin(epoch, step)

    def weight_of(self, name: str) -> float | Tensor:
        """The weight of that loss now, a scalar."""
        weight = self.losses[name].weight_at(self._progress.epoch)
        if self.balance is None or name not in self.balance.shares:
            return weight
        return weight * self.balance.weight(name)

    def due(self, epoch: int) -> bool:
        """Whether :meth:`prepare` must be called before the first step of ``epoch``."""
        return any(loss.prepares(epoch) for loss in self.losses.values())

    @paddle.no_grad()
    def prepare(self, epoch: int, images: TrainingSet) -> None:
        """Let the losses make what they need for ``epoch`` from the student as it is, their teacher and ``images``."""
        with evaluation_mode(self.student):
            for name, loss in self.losses.items():
                if loss.prepares(epoch):
                    student = chosen(self.student.abilities(), loss.needs.student)
                    teacher = chosen(self.teachers[self.teacher_of(name)].abilities(), loss.needs.teacher)
                    loss.prepare(epoch, Material(name, student, teacher, images))

    def fingerprints(self) -> dict[str, str]:
        """The hash of each teacher, to be stored with a run and compared when it is resumed."""
        return {name: teacher.fingerprint() for name, teacher in self.teachers.items()}

    @property
    def progress(self) -> Progress:
        """Where training is, as :meth:`set_progress` was told."""
        return self._progress

    @property
    def _taught_targets(self) -> bool:
        """Whether the student's targets are now those of the first teacher's record."""
        since = self._teacher_targets_from
        return since is not None and self._progress.epoch >= since

    def _asked(self, losses: Mapping[str, DistillLoss]) -> list[str]:
        """The names of the teachers of ``losses``, in the order of the teachers."""
        asked = {self.teacher_of(name) for name in losses}
        if self._taught_targets:
            asked.add(next(iter(self.teachers)))
        return [name for name in self.teachers if name in asked]

    def _view(self, student: Record, teachers: Mapping[str, Record], truth: Truth, targets: Any = None) -> View:
        sides = {name: Side(record, self.teachers[name].abilities()) for name, record in teachers.items()}
        return View(Side(student, self.student.abilities(), targets), sides, truth)

    def _distill(
        self, losses: Mapping[str, DistillLoss], everything: View, labelled: View | None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Given]]:
        """The weighted losses, the unweighted ones, and what these were given.

        Those that need ground truth get the labelled images alone, or are left out. One whose weight is 0 is not
        computed, see :func:`nothing_of`.
        """
        terms, raw, given = {}, {}, {}
        for name, loss in losses.items():
            view = labelled if loss.needs_truth else everything
            if view is not None and loss.weight_at(self._progress.epoch) == 0:
                terms[name] = nothing_of(loss, view.student.record)
            elif view is not None:
                student = view.student.given(loss.needs.student)
                teacher = view.teachers[self.teacher_of(name)].given(loss.needs.teacher)
                given[name] = Given(student, teacher, view.truth)
                raw[name] = loss(student, teacher, view.truth, self._progress)
                terms[name] = self.weight_of(name) * raw[name]
        return terms, raw, given


def nothing_of(loss: DistillLoss, record: Record) -> Tensor:
    """0, a scalar that reaches all that the ``loss`` on the student's ``record`` would reach with gradients, also 0.

    So all processes see gradients of the same parameters, and momentum and decay go on, whatever a schedule says.
    """
    reached = [*loss.parameters(), *(level for name in loss.consumes for level in record[name])]
    return paddle.add_n([one.sum() for one in reached]) * 0.0


@dataclass(frozen=True)
class View:
    """What losses are given of some images: the student's side, each teacher's, and the ground truth."""

    student: Side
    teachers: Mapping[str, Side]
    truth: Truth


@dataclass(frozen=True)
class Given:
    """What one loss was given."""

    student: Side
    teacher: Side
    truth: Truth


@dataclass(frozen=True)
class Comparison:
    """One batch: all records, the terms of the task, and those of the distillation, weighted and unweighted.

    What weighs nothing at present has no unweighted term; ``given`` is what the others were computed from.
    """

    student: Record
    teachers: dict[str, Record]
    task: dict[str, Tensor]
    distilled: dict[str, Tensor]
    raw: dict[str, Tensor]
    given: dict[str, Given]

    @property
    def total(self) -> Tensor | None:
        """The sum of the task's terms; ``None`` without labelled images."""
        return paddle.add_n(list(self.task.values())) if self.task else None
