"""The distillation model introduces a student and a frozen teacher to the losses between them."""

from __future__ import annotations

from collections.abc import Mapping

import paddle
from paddle import Tensor, nn

from ppkd.distill.loss import Context, DistillLoss
from ppkd.distill.teacher import FrozenTeacher
from ppkd.models.detectors.detector import Detector
from ppkd.structures import Batch, Record


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
        """The student's task losses, every weighted distillation loss, and their sum under ``loss``."""
        student = self.student.extract(batch)
        labelled = labelled_images(batch)
        targets, terms = self._task(student, batch, labelled)
        teacher = self.teacher(batch, like=student)
        terms.update(self._distill(student, teacher, Context(batch, targets), labelled))
        return {**terms, "loss": paddle.add_n(list(terms.values()))}

    def deployable(self) -> Detector:
        """The bare student, as shipped."""
        return self.student

    def set_progress(self, epoch: float) -> None:
        """Tell the weight schedules where training is; 1.5 is the middle of the second epoch."""
        self._epoch = epoch

    def fingerprints(self) -> dict[str, str]:
        """The hash of each frozen model, to be stored with a run and compared when it is resumed."""
        return {"teacher": self.teacher.fingerprint()}

    def _task(self, record: Record, batch: Batch, labelled: Tensor | None) -> tuple[object, dict[str, Tensor]]:
        if labelled is not None:
            if not labelled.shape[0]:
                return None, {}
            record, batch = record.images(labelled), images_of(batch, labelled)
        targets = self.student.assign(record, batch)
        return targets, dict(self.student.loss(record, targets))

    def _distill(
        self, student: Record, teacher: Record, context: Context, labelled: Tensor | None
    ) -> dict[str, Tensor]:
        everything = (_float32(student), _float32(teacher), context)
        known = everything if labelled is None else self._labelled_part(*everything, labelled)
        terms = {}
        with paddle.amp.auto_cast(enable=False):
            for name, loss in self.losses.items():
                seen = known if loss.needs_ground_truth else everything
                if seen is not None:
                    terms[name] = loss.weight_at(self._epoch) * loss(*seen)
        return terms

    @staticmethod
    def _labelled_part(
        student: Record, teacher: Record, context: Context, labelled: Tensor
    ) -> tuple[Record, Record, Context] | None:
        if not labelled.shape[0]:
            return None
        part = Context(images_of(context.batch, labelled), context.targets)
        return student.images(labelled), teacher.images(labelled), part


def labelled_images(batch: Batch) -> Tensor | None:
    """Positions of the labelled images, int64 (M,); ``None`` when all are, as in a batch without the key."""
    if "labelled" not in batch:
        return None
    return paddle.nonzero(batch["labelled"]).flatten()


def images_of(batch: Batch, index: Tensor) -> Batch:
    """The batch of the images at ``index``, int64 (M,)."""
    positions = index.tolist()
    return {
        key: [value[i] for i in positions] if isinstance(value, list) else value.index_select(index, axis=0)
        for key, value in batch.items()
    }


def _float32(record: Record) -> Record:
    return record.map(lambda level: level if level.dtype == paddle.float32 else level.astype("float32"))
