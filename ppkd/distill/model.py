"""The distillation model introduces a student and a frozen teacher to the losses between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import paddle
from paddle import Tensor, nn

from ppkd.data.training_set import TrainingSet
from ppkd.distill.loss import Context, DistillLoss
from ppkd.distill.preparation import Material
from ppkd.distill.teacher import FrozenTeacher
from ppkd.models.casting import float32, full_precision
from ppkd.models.detectors.detector import Detector
from ppkd.models.modes import evaluation_mode
from ppkd.structures import Batch, Record
from ppkd.utils.errors import ConfigError


class DistillModel(nn.Layer):
    """One training step: student record, targets, task losses, teacher record, each distillation loss.

    ``student`` and ``losses`` (with their adapters) are sublayers and train; ``teacher`` is not.

    Args:
        student: the detector to train.
        teacher: the frozen detector.
        losses: distillation losses by the name under which their weighted value is returned.
    """

    def __init__(self, student: Detector, teacher: FrozenTeacher, losses: Mapping[str, DistillLoss]) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher
        self.losses = nn.LayerDict(dict(losses))
        self._epoch = 0.0

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The student's task losses, every weighted distillation loss, and their sum under ``loss``.

        Raises :class:`ConfigError` when a distillation loss has the name of one of the others.
        """
        seen = self.compare(batch, dict(self.losses.items()))
        terms = {**seen.task, **seen.distilled}
        return {**terms, "loss": paddle.add_n(list(terms.values()))}

    def compare(self, batch: Batch, losses: Mapping[str, DistillLoss]) -> Comparison:
        """Both records of ``batch``, the task losses, and those of ``losses`` that it has the images for.

        Raises :class:`ConfigError` when a distillation loss has the name of one of the others.
        """
        known = labelled_part(batch)
        read = {entry for loss in losses.values() for entry in loss.consumes}
        student = self.student.extract(batch).reading(read).map(float32)
        with full_precision():
            targets, task = self._task(student, known)
        teacher = self.teacher(batch, like=student).map(float32)
        with full_precision():
            context = Context(batch, targets, self._epoch, self.teacher, self.student)
            distilled = self._distill(losses, student, teacher, context, known)
        for name in distilled.keys() & {*task, "loss"}:
            raise ConfigError(f"losses.{name}: the student has a loss term of that name; choose another key")
        return Comparison(student, teacher, task, distilled)

    def deployable(self) -> Detector:
        """The bare student, as shipped."""
        return self.student

    def set_progress(self, epoch: float) -> None:
        """Tell the weight schedules and the student where training is; 1.5 is the middle of the second epoch."""
        self._epoch = epoch
        self.student.set_progress(epoch)

    def due(self, epoch: int) -> bool:
        """Whether :meth:`prepare` must be called before the first step of ``epoch``."""
        return any(loss.due(epoch) for loss in self.losses.values())

    @paddle.no_grad()
    def prepare(self, epoch: int, images: TrainingSet) -> None:
        """Let the losses make what they need for ``epoch`` from the student as it is, the teacher and ``images``."""
        with evaluation_mode(self.student):
            for name, loss in self.losses.items():
                if loss.due(epoch):
                    loss.prepare(epoch, Material(name, self.student, self.teacher, images))

    def fingerprints(self) -> dict[str, str]:
        """The hash of each frozen model, to be stored with a run and compared when it is resumed."""
        return {"teacher": self.teacher.fingerprint()}

    def _task(self, record: Record, known: LabelledPart | None) -> tuple[object, dict[str, Tensor]]:
        if known is None:
            return None, {}
        record = known.of(record)
        targets = self.student.assign(record, known.batch)
        return targets, dict(self.student.loss(record, targets))

    def _distill(
        self,
        losses: Mapping[str, DistillLoss],
        student: Record,
        teacher: Record,
        context: Context,
        known: LabelledPart | None,
    ) -> dict[str, Tensor]:
        everything = (student, teacher, context)
        labelled = None
        if known is not None:
            labelled = (known.of(student), known.of(teacher), replace(context, batch=known.batch))
        terms = {}
        for name, loss in losses.items():
            seen = labelled if loss.needs_ground_truth else everything
            if seen is not None:
                terms[name] = loss.weight_at(self._epoch) * loss(*seen)
        return terms


@dataclass(frozen=True)
class Comparison:
    """One batch: both records, the terms of the task, and the weighted terms of the distillation."""

    student: Record
    teacher: Record
    task: dict[str, Tensor]
    distilled: dict[str, Tensor]


@dataclass(frozen=True)
class LabelledPart:
    """The labelled images of a batch: their positions int64 (M,), ``None`` when all are, and the batch of them."""

    index: Tensor | None
    batch: Batch

    def of(self, record: Record) -> Record:
        """The record of these images alone."""
        return record if self.index is None else record.images(self.index)


def labelled_part(batch: Batch) -> LabelledPart | None:
    """The labelled images, all of them in a batch without the key ``labelled``; ``None`` when there are none.

    This waits for the device, so it comes before a step has queued any work there.
    """
    if "labelled" not in batch:
        return LabelledPart(None, batch)
    positions = np.flatnonzero(batch["labelled"].numpy()).tolist()
    if not positions:
        return None
    index = paddle.to_tensor(positions, dtype="int64")
    part = {
        key: [value[i] for i in positions] if isinstance(value, list) else value.index_select(index, axis=0)
        for key, value in batch.items()
    }
    return LabelledPart(index, part)
