"""What is checked before the first step: the teacher, the first losses, and whether the teacher can teach."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import paddle
from paddle import nn

from ppkd.distill.preflight import FirstLosses, check_teachers, first_losses
from ppkd.distill.preflight_teacher import judge_teachers
from ppkd.engine import random_state
from ppkd.engine.non_finite import broken_gradients, broken_images
from ppkd.engine.saved_batch import check_alike, load_batch
from ppkd.engine.update import Update
from ppkd.experiment.assembly import Assembly
from ppkd.models.modes import statistics_kept
from ppkd.structures import Batch
from ppkd.utils import processes
from ppkd.utils.atomic import atomic_open
from ppkd.utils.errors import TrainingError
from ppkd.utils.logger import get_logger

REPORT = "preflight.json"

logger = get_logger(__name__)


def run_preflight(assembly: Assembly) -> FirstLosses:
    """Examine the run that is about to begin, and report; nothing of it changes. Returns what was seen of the losses.

    Parameters, buffers, modes, random streams and the loader's position are the same afterwards. The teacher is
    evaluated at the start of a run, not of a resumed one.

    Raises:
        TrainingError: the teacher cannot teach this student, or a loss is not finite on the first batch.
    """
    started = time.perf_counter()
    experiment, distilled = assembly.experiment, assembly.distilled
    settings = experiment.runtime.preflight
    with untouched(assembly.trainer.model):
        if distilled is not None:
            check_teachers(distilled, assembly.loader.dataset.class_names)
        batch = _first_batch(assembly, settings.batch)
        begun = time.perf_counter()
        losses = _first_losses(assembly, batch)
        losses = replace(losses, seconds=time.perf_counter() - begun)
        losses.check()
        if settings.batch is not None:
            check_gradients(assembly.trainer.update, batch)
        resumed = experiment.options.resume is not None
        if distilled is not None and settings.evaluate and not resumed and processes.is_first():
            judge_teachers(
                experiment.config,
                experiment.runtime,
                partial(experiment.evaluation_loader, worker_num=0),
                distilled,
                starts=experiment.starts_trained,
            )
    logger.info("Preflight: %.1f s", time.perf_counter() - started)
    return losses


def write_report(folder: Path, losses: FirstLosses) -> None:
    """Write what was seen of the losses to ``preflight.json`` in the run's ``folder``."""
    with atomic_open(folder / REPORT) as stream:
        stream.write(json.dumps(losses.data(), indent=1).encode())


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


def check_gradients(update: Update, batch: Batch) -> None:
    """Raise :class:`TrainingError` if the gradients of ``batch`` are not finite; afterwards there are none."""
    model: nn.Layer = update.model
    try:
        with paddle.enable_grad():
            with update.casting():
                loss = model(batch)["loss"]
            loss.backward()
        reason = broken_gradients(dict(model.named_parameters()))
    finally:
        model.clear_gradients()
    if reason:
        raise TrainingError(f"on this batch {reason}.{broken_images(batch)}")
    logger.info("Every gradient of this batch is finite, with the weights that the run starts with")


def _first_batch(assembly: Assembly, file: str | None) -> Batch:
    at = assembly.trainer.position
    own = assembly.loader.peek(at.epoch, at.batch)
    if file is None:
        return own
    batch = load_batch(file)
    check_alike(batch, own, file)
    return batch


def _first_losses(assembly: Assembly, batch: Batch) -> FirstLosses:
    trainer, at = assembly.trainer, assembly.trainer.position
    trainer.model.train()
    with trainer.update.casting():
        if assembly.distilled is not None:
            loader = assembly.loader
            updates = (loader.update(at.epoch, number) for number in range(len(loader)))
            losses = first_losses(assembly.distilled, batch, at.epoch, prepared=at.batch > 0, updates=updates)
        else:
            terms = trainer.model(batch)
            losses = FirstLosses({name: term.item() for name, term in terms.items() if name != "loss"})
    losses.report()
    return losses
