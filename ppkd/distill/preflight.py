"""What a run checks of its losses and its teacher before the first step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ppkd.distill.model import DistillModel
from ppkd.distill.preflight_report import pair_table, term_table
from ppkd.structures import Batch
from ppkd.utils.errors import TrainingError
from ppkd.utils.logger import get_logger

DWARFS = 100.0
"""A distillation term is remarked on when it is so many times the sum of the task losses; published weights of feature
losses may begin at ten or twenty times."""
FINGERPRINT = 12

logger = get_logger(__name__)


@dataclass(frozen=True)
class FirstLosses:
    """The terms of one batch: the task's, the distillation's weighted ones, and the weights of these."""

    task: Mapping[str, float]
    distilled: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    def report(self) -> None:
        """Log them as a table."""
        logger.info("First losses:\n%s", term_table(self.task, self.distilled, self.weights))

    def check(self) -> None:
        """Warn of terms that are nothing or everything; raise :class:`TrainingError` for one that is not finite."""
        for name, value in {**self.task, **self.distilled}.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{name} is {value} on the first batch: look at the weights that the run starts with and at the "
                    "images and boxes of that batch."
                )
        for name, value in self.distilled.items():
            if value == 0:
                self._remark_on_zero(name)
            else:
                self._compare(name, value, sum(self.task.values()))

    def _remark_on_zero(self, name: str) -> None:
        if self.weights[name] == 0:
            logger.info("losses.%s is switched off by its weight or schedule at this epoch", name)
        else:
            logger.warning("losses.%s is exactly 0 on the first batch: it teaches nothing there", name)

    @staticmethod
    def _compare(name: str, value: float, total: float) -> None:
        if total > 0 and abs(value) > DWARFS * total:
            logger.warning(
                "losses.%s is %.1f times the task's losses (%.4g to %.4g): lower losses.%s.weight unless you mean that",
                *(name, abs(value) / total, value, total, name),
            )


def check_teachers(model: DistillModel, names: tuple[str, ...]) -> None:
    """Log what the teachers are; ``names`` are the classes of the training set.

    Raises :class:`TrainingError` when a teacher has them in another order and would teach wrong classes.
    """
    for name in model.teachers:
        _check_teacher(model, name, tuple(names))


def _check_teacher(model: DistillModel, name: str, names: tuple[str, ...]) -> None:
    teacher = model.teachers[name]
    logger.info("%s: fingerprint %s", name.capitalize(), teacher.fingerprint()[:FINGERPRINT])
    of_student, of_teacher = model.student.spec().num_classes, teacher.spec().num_classes
    known = teacher.class_names
    if of_student != of_teacher:
        text = "The student has %d classes, the %s %d: only features can be taught"
        logger.warning(text, of_student, name, of_teacher)
    elif known is None:
        logger.info("Classes: %d on both sides; the %s's weights do not name theirs", of_student, name)
    elif known == names:
        logger.info("Classes: the %s's are the student's: %s", name, _shown(names))
    else:
        _compare_names(model, name, known, names)


def _compare_names(model: DistillModel, name: str, of_teacher: tuple[str, ...], of_student: tuple[str, ...]) -> None:
    learnt = [loss for key, loss in model.losses.items() if model.teacher_of(key) == name]
    entries = model.teachers[name].spec().entries
    consumed = {entry for loss in learnt for entry in loss.consumes if entries[entry].role != "feature"}
    taught, has = _shown(of_teacher), _shown(of_student)
    if consumed and set(of_teacher) == set(of_student):
        raise TrainingError(
            f"the {name}'s classes are the student's in another order: {taught}, but TrainDataset has {has}; it would "
            f"teach {sorted(consumed)} of wrong classes. Order label_list or the categories as the {name} had them."
        )
    logger.warning("The %s was trained on other classes, %s; TrainDataset has %s", name, taught, has)


def first_losses(model: DistillModel, batch: Batch, epoch: int, *, prepared: bool) -> FirstLosses:
    """The terms of ``batch`` at the start of ``epoch``, logged with a table of what is compared.

    Losses that prepare themselves for ``epoch`` are left out unless they are ``prepared`` already.
    """
    model.set_progress(float(epoch))
    ready = {name: loss for name, loss in model.losses.items() if prepared or not loss.prepares(epoch)}
    seen = model.compare(batch, ready)
    logger.info(
        "What is compared:\n%s",
        pair_table(ready, seen.student, {name: seen.teachers[model.teacher_of(name)] for name in ready}),
    )
    for name in model.losses.keys() - ready.keys():
        logger.info("losses.%s is not computed yet: it prepares itself from the training set first", name)
    return FirstLosses(
        {name: term.item() for name, term in seen.task.items()},
        {name: term.item() for name, term in seen.distilled.items()},
        {name: loss.weight_at(epoch) for name, loss in ready.items()},
    )


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (f", ... ({len(names)})" if len(names) > 10 else "")
