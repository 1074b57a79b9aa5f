"""What is looked at before the first step: the teacher, both records, every loss, and whether the teacher can teach."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import paddle
from paddle import nn

from ppkd.config import Config, runtime
from ppkd.distill.model import Comparison, DistillModel
from ppkd.engine import random_state
from ppkd.engine.non_finite import broken_gradients, broken_images
from ppkd.engine.preflight_report import pair_table, term_table
from ppkd.engine.preflight_teacher import judge_teacher
from ppkd.engine.saved_batch import load_batch
from ppkd.models.modes import statistics_kept
from ppkd.structures import Batch, Record
from ppkd.utils import processes
from ppkd.utils.errors import TrainingError
from ppkd.utils.logger import get_logger

if TYPE_CHECKING:
    from ppkd.engine.trainer import Trainer

DWARFS = 100.0
"""A distillation term is remarked on when it is so many times the sum of the task losses; published weights of feature
losses may begin at ten or twenty times."""
FINGERPRINT = 12

logger = get_logger(__name__)


def run_preflight(cfg: Config, slim: Config | None, trainer: Trainer, *, resumed: bool) -> None:
    """Look at the run that ``trainer`` is about to begin, and report; nothing of it changes.

    Parameters, buffers, modes, random streams and the loader's position are the same afterwards. The teacher is
    evaluated at the start of a run, not of a ``resumed`` one.

    Raises:
        TrainingError: the teacher cannot teach this student, or a loss is not finite on the first batch.
    """
    started = time.perf_counter()
    settings = runtime(cfg).preflight
    model: Any = trainer.model
    loader: Any = trainer.loader
    at = trainer.position
    with untouched(model):
        if isinstance(model, DistillModel):
            _check_teacher(model, loader.dataset.class_names)
        batch = loader.peek(at.epoch, at.batch) if settings.batch is None else load_batch(settings.batch)
        with trainer.casting():
            terms = _first_losses(model, batch, at.epoch, prepared=at.batch > 0)
        _check_terms(*terms)
        if settings.batch is not None:
            _check_gradients(trainer, batch)
        if isinstance(model, DistillModel) and settings.evaluate and not resumed and processes.is_first():
            judge_teacher(cfg, model, settings, starts=_starts_trained(cfg, slim))
    logger.info("Preflight: %.1f s", time.perf_counter() - started)


@contextmanager
def untouched(model: nn.Layer) -> Iterator[None]:
    """Inside nothing has gradients; buffers, modes and random streams of all kinds are as before afterwards."""
    streams = random_state.capture()
    modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    try:
        with paddle.no_grad(), statistics_kept(model):
            yield
    finally:
        for layer, training in modes:
            layer.training = training
        random_state.restore(streams)


def _check_teacher(model: DistillModel, names: tuple[str, ...]) -> None:
    """Log what the teacher is; raise if its classes are not the student's."""
    teacher = model.teacher
    logger.info("Teacher: fingerprint %s", teacher.fingerprint()[:FINGERPRINT])
    ours, theirs = model.student.spec().num_classes, teacher.detector.spec().num_classes
    if ours != theirs:
        logger.warning("The student has %d classes, the teacher %d: only features can be taught", ours, theirs)
        return
    known = teacher.detector.class_names
    if known is None:
        logger.info("Classes: %d on both sides; the teacher's weights do not name theirs", ours)
    elif known == tuple(names):
        logger.info("Classes: the teacher's are the student's: %s", _shown(names))
    else:
        _compare_names(model, known, tuple(names))


def _compare_names(model: DistillModel, theirs: tuple[str, ...], ours: tuple[str, ...]) -> None:
    consumed = {entry for loss in model.losses.values() for entry in loss.consumes} - set(Record.entries())
    if consumed and set(theirs) == set(ours):
        raise TrainingError(
            f"the teacher's classes are the student's in another order: {_shown(theirs)}, but TrainDataset has "
            f"{_shown(ours)}; it would teach {sorted(consumed)} of wrong classes. Order label_list or the categories "
            "as the teacher had them."
        )
    logger.warning("The teacher was trained on other classes, %s; TrainDataset has %s", _shown(theirs), _shown(ours))


def _first_losses(
    model: Any, batch: Batch, epoch: int, *, prepared: bool
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """The task's terms, the distillation's weighted ones, and the weights of these, on ``batch``."""
    model.train()
    if not isinstance(model, DistillModel):
        values = {name: term.item() for name, term in model(batch).items() if name != "loss"}
        logger.info("First losses:\n%s", term_table(values, {}, {}))
        return values, {}, {}
    model.set_progress(float(epoch))
    ready = {name: loss for name, loss in model.losses.items() if prepared or not loss.due(epoch)}
    seen: Comparison = model.compare(batch, ready)
    logger.info("What is compared:\n%s", pair_table(ready, seen.student, seen.teacher))
    task = {name: term.item() for name, term in seen.task.items()}
    distilled = {name: term.item() for name, term in seen.distilled.items()}
    weights = {name: loss.weight_at(epoch) for name, loss in ready.items()}
    for name in model.losses.keys() - ready.keys():
        logger.info("losses.%s is not computed yet: it prepares itself from the training set first", name)
    logger.info("First losses:\n%s", term_table(task, distilled, weights))
    return task, distilled, weights


def _check_terms(task: Mapping[str, float], distilled: Mapping[str, float], weights: Mapping[str, float]) -> None:
    """Warn of terms that are nothing or everything; raise for one that is not finite."""
    for name, value in {**task, **distilled}.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} is {value} on the first batch: look at the weights that the run starts with and at the images "
                "and boxes of that batch."
            )
    total = sum(task.values())
    for name, value in distilled.items():
        if value == 0 and weights[name] == 0:
            logger.info("losses.%s is switched off by its weight or schedule at this epoch", name)
        elif value == 0:
            logger.warning("losses.%s is exactly 0 on the first batch: it teaches nothing there", name)
        elif total > 0 and abs(value) > DWARFS * total:
            logger.warning(
                "losses.%s is %.1f times the task's losses (%.4g to %.4g): lower losses.%s.weight unless you mean that",
                name,
                abs(value) / total,
                value,
                total,
                name,
            )


def _check_gradients(trainer: Trainer, batch: Batch) -> None:
    """Raise if the gradients of ``batch`` are not finite; afterwards there are none."""
    model: Any = trainer.model
    try:
        with paddle.enable_grad():
            with trainer.casting():
                loss = model(batch)["loss"]
            loss.backward()
        reason = broken_gradients(dict(model.named_parameters()))
    finally:
        model.clear_gradients()
    if reason:
        raise TrainingError(f"on this batch {reason}.{broken_images(batch)}")
    logger.info("Every gradient of this batch is finite, with the weights that the run starts with")


def _starts_trained(cfg: Config, slim: Config | None) -> bool:
    """Whether the student starts from more than random weights."""
    return bool(runtime(cfg).pretrain_weights) or (slim is not None and bool(slim.at("student.inherit", None)))


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (f", ... ({len(names)})" if len(names) > 10 else "")
