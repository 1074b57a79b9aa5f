"""What a run checks of its losses and its teacher before the first step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import paddle

from ppkd.distill.calibration import Objects
from ppkd.distill.effects import Effect, effects, remedies, suspicious
from ppkd.distill.model import DistillModel
from ppkd.distill.preflight_report import pair_table, term_table
from ppkd.distill.side import Progress
from ppkd.structures import Batch, Record
from ppkd.utils.errors import TrainingError
from ppkd.utils.logger import get_logger

FINGERPRINT = 12

logger = get_logger(__name__)


@dataclass(frozen=True)
class FirstLosses:
    """The terms of one batch: the task's, the distillation's weighted ones, the weights of these, what they do to the
    student, and what to change; computing them took ``seconds``."""

    task: Mapping[str, float]
    distilled: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    effects: Mapping[str, Effect] = field(default_factory=dict)
    remedies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def report(self) -> None:
        """Log them as a table."""
        logger.info("First losses:\n%s", term_table(self.task, self.distilled, self.weights, self.effects))

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
            for remedy in self.remedies.get(name, ()):
                logger.warning("losses.%s: %s", name, remedy)

    def data(self) -> dict[str, Any]:
        """All of it as json has it."""
        distilled = {
            name: {
                "value": value,
                "weight": self.weights[name],
                **(self.effects[name].data() if name in self.effects else {}),
                "remedies": list(self.remedies.get(name, ())),
            }
            for name, value in self.distilled.items()
        }
        return {"task": dict(self.task), "distilled": distilled}

    def _remark_on_zero(self, name: str) -> None:
        if self.weights[name] == 0:
            logger.info("losses.%s is switched off by its weight or schedule at this epoch", name)
        else:
            logger.warning("losses.%s is exactly 0 on the first batch: it teaches nothing there", name)


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


def first_losses(
    model: DistillModel, batch: Batch, epoch: int, *, prepared: bool, updates: Iterable[Iterable[Batch]] = ()
) -> FirstLosses:
    """The terms of ``batch`` at the start of ``epoch``, logged with a table of what is compared.

    Losses that prepare themselves for ``epoch`` are left out unless they are ``prepared`` already. Batches of
    ``updates`` are read where levels seem to be without objects.
    """
    model.set_progress(float(epoch))
    ready = {name: loss for name, loss in model.losses.items() if prepared or not loss.prepares(epoch)}
    with paddle.enable_grad():
        seen = model.compare(batch, ready)
        found = effects(model, seen, Progress(float(epoch)))
    logger.info(
        "What is compared:\n%s",
        pair_table(ready, seen.student, {name: seen.teachers[model.teacher_of(name)] for name in ready}),
    )
    for name in model.losses.keys() - ready.keys():
        logger.info("losses.%s is not computed yet: it prepares itself from the training set first", name)
    positives = _positives(model, batch, seen.student, found, updates)
    return FirstLosses(
        {name: term.item() for name, term in seen.task.items()},
        {name: term.item() for name, term in seen.distilled.items()},
        {name: float(model.weight_of(name)) for name in ready},
        found,
        {name: remedies(name, ready[name], effect, positives) for name, effect in found.items()},
    )


def _positives(
    model: DistillModel,
    batch: Batch,
    record: Record,
    found: Mapping[str, Effect],
    updates: Iterable[Iterable[Batch]],
) -> dict[int, float]:
    """The places of each stride that answer for objects of ``batch``, and of more images where that leaves a doubt.

    They are those that this process sees.
    """
    if not suspicious(model.losses, found, {}):
        return {}
    objects = Objects(model, {})
    objects.add(batch, record)
    if suspicious(model.losses, found, objects.local()):
        objects.see(updates)
    return objects.local()


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (f", ... ({len(names)})" if len(names) > 10 else "")
