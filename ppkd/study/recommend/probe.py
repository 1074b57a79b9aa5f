"""A look at a candidate before it is trained: what a step takes, and what its losses want of the student's neck."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import paddle

from ppkd.config import Config
from ppkd.data import build_dataset
from ppkd.distill.gradients import gradients, neck_parameters
from ppkd.distill.model import DistillModel
from ppkd.distill.preflight_teacher import judge_teachers
from ppkd.experiment import Experiment, TrainOptions
from ppkd.experiment.assembly import Assembly, assemble
from ppkd.experiment.calibration import run_calibration
from ppkd.experiment.preflight import run_preflight, untouched
from ppkd.structures import Batch

TIMED = 3
"""Steps, of which the fastest counts: the first one also makes what later ones find."""


@dataclass(frozen=True)
class Probe:
    """What one candidate showed on the first batch.

    Attributes:
        seconds: of a training step.
        steps: of an epoch.
        share: norm of the gradient of its weighted losses on the student's neck, over the task's; ``None`` for the
            student alone and for losses that prepare themselves from the training set first.
        cosine: of the angle between the two gradients.
        evaluated: batches of the evaluation set.
    """

    seconds: float
    steps: int
    evaluated: int
    share: float | None = None
    cosine: float | None = None


def probe(cfg: Config, slim: Config | None, folder: Path) -> Probe:
    """Examine a run as before its first step, and time a few of its steps; nothing is kept.

    Raises :class:`PPKDError` for what would end the run.
    """
    assembly = _assembled(cfg, slim, folder)
    experiment, distilled = assembly.experiment, assembly.distilled
    run_calibration(assembly)
    run_preflight(assembly)
    batch = assembly.loader.peek(0, 0)
    share, cosine = (None, None) if distilled is None else directions(distilled, batch)
    evaluated = experiment.evaluation_loader(build_dataset(cfg, "EvalDataset"), worker_num=0)
    return Probe(
        seconds=_step_seconds(assembly, batch),
        steps=max(len(assembly.loader), 1),
        evaluated=len(evaluated),
        share=share,
        cosine=cosine,
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


def directions(model: DistillModel, batch: Batch) -> tuple[float | None, float | None]:
    """The norm of the distillation's gradient over that of the task's, on the student's neck, and their cosine.

    Losses that prepare themselves from the training set before the first step are not among it.
    """
    model.train()
    ready = {name: loss for name, loss in model.losses.items() if not loss.prepares(0)}
    with untouched(model), paddle.enable_grad():
        seen = model.compare(batch, ready)
        if not seen.distilled or not seen.task:
            return None, None
        terms = [paddle.add_n(list(each.values())) for each in (seen.task, seen.distilled)]
        task, taught = gradients(terms, neck_parameters(model.student))
        norms, product = (task.norm().item(), taught.norm().item()), (task * taught).sum().item()
    if not all(norms):
        return 0.0, None
    return norms[1] / norms[0], product / (norms[0] * norms[1])


def _step_seconds(assembly: Assembly, batch: Batch) -> float:
    """The shortest of a few updates of the model, which is thrown away afterwards."""
    trainer, times = assembly.trainer, []
    trainer.model.train()
    for _ in range(TIMED):
        started = time.perf_counter()
        trainer.run_step([batch] * assembly.experiment.runtime.gradient_accumulation_steps, trainer.schedule(0))
        times.append(time.perf_counter() - started)
    return min(times)
