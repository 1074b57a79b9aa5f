"""A look at a candidate before it is trained: what a step takes, and what its losses want of the student's neck."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ppkd.config import Config
from ppkd.data import build_dataset
from ppkd.distill.effects import Effect
from ppkd.distill.preflight import FirstLosses
from ppkd.distill.preflight_teacher import judge_teachers
from ppkd.experiment import Experiment, TrainOptions
from ppkd.experiment.assembly import Assembly, assemble
from ppkd.experiment.calibration import run_calibration
from ppkd.experiment.preflight import run_preflight, untouched

TIMED = 3
"""Steps, of which the fastest counts: the first one also makes what later ones find."""


@dataclass(frozen=True)
class Probe:
    """What one candidate showed on the first batch.

    Attributes:
        seconds: of a training step.
        steps: of an epoch.
        evaluated: batches of the evaluation set.
        share: norm of the gradient of its strongest weighted loss on the student's neck, over the task's; ``None`` for
            the student alone and for losses that prepare themselves from the training set first.
        cosine: of the angle between the two gradients.
        remedies: what the preflight advises.
    """

    seconds: float
    steps: int
    evaluated: int
    share: float | None = None
    cosine: float | None = None
    remedies: tuple[str, ...] = ()


def probe(cfg: Config, slim: Config | None, folder: Path) -> Probe:
    """Examine a run as before its first step, and time a few of its steps; nothing is kept.

    Raises :class:`PPKDError` for what would end the run.
    """
    assembly = _assembled(cfg, slim, folder)
    experiment = assembly.experiment
    run_calibration(assembly)
    losses = run_preflight(assembly)
    effect = strongest(losses)
    evaluated = experiment.evaluation_loader(build_dataset(cfg, "EvalDataset"), worker_num=0)
    return Probe(
        seconds=_step_seconds(assembly),
        steps=max(len(assembly.loader), 1),
        evaluated=len(evaluated),
        share=None if effect is None else effect.gradient,
        cosine=None if effect is None or not math.isfinite(effect.cosine) else effect.cosine,
        remedies=tuple(text for said in losses.remedies.values() for text in said),
    )


def judge(cfg: Config, slim: Config, folder: Path) -> None:
    """Evaluate the teacher of ``slim`` on a sample, as the preflight does.

    Raises :class:`TrainingError` for one that finds nothing.
    """
    assembly = _assembled(cfg, slim, folder)
    experiment, distilled = assembly.experiment, assembly.distilled
    if distilled is not None:
        load = partial(experiment.evaluation_loader, worker_num=0)
        with untouched(distilled):
            judge_teachers(cfg, experiment.runtime, load, distilled, starts=experiment.starts_trained)


def _assembled(cfg: Config, slim: Config | None, folder: Path) -> Assembly:
    return assemble(Experiment.parse(cfg, slim, TrainOptions(dry_run=True, overwrite=True)).at(folder))


def strongest(losses: FirstLosses) -> Effect | None:
    """The effect of the loss with the largest gradient, of those that have one."""
    known = [effect for effect in losses.effects.values() if math.isfinite(effect.gradient)]
    return max(known, key=lambda effect: effect.gradient, default=None)


def _step_seconds(assembly: Assembly) -> float:
    """The shortest of a few updates of the model, which is thrown away afterwards."""
    trainer, batch, times = assembly.trainer, assembly.loader.peek(0, 0), []
    trainer.model.train()
    for _ in range(TIMED):
        started = time.perf_counter()
        trainer.run_step([batch] * assembly.experiment.runtime.gradient_accumulation_steps, trainer.schedule(0))
        times.append(time.perf_counter() - started)
    return min(times)
