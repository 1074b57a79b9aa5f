"""What ``tools/train.py`` calls: a whole run from configurations."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppkd.config import Config, Runtime, load_config, runtime, split_overrides
from ppkd.config.value import freeze
from ppkd.data import build_dataset, build_loader
from ppkd.engine import environment, precision, preparation
from ppkd.engine.checkpoint import Checkpointer, Identity
from ppkd.engine.ema import ModelEMA
from ppkd.engine.hooks.base import Hook
from ppkd.engine.hooks.interrupt import StopOnSignal
from ppkd.engine.hooks.log import LogLines, TrainingBar
from ppkd.engine.hooks.preparation import Preparation
from ppkd.engine.hooks.profiler import Profiler, parse_options
from ppkd.engine.hooks.results import Results
from ppkd.engine.hooks.snapshot import Evaluation, Snapshot, SnapshotPlan
from ppkd.engine.hooks.visualdl import VisualDL
from ppkd.engine.optim import build_optimizer
from ppkd.engine.random_state import seed_everything
from ppkd.engine.schedules import build_schedule
from ppkd.engine.signals import SignalWatch
from ppkd.engine.trainer import Trainer
from ppkd.engine.training_set import training_set
from ppkd.metrics import build_metric
from ppkd.utils.errors import ConfigError, PPKDError
from ppkd.utils.logger import get_logger, record, setup_logger
from ppkd.utils.runtime import current

logger = get_logger(__name__)

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class TrainOptions:
    """What the command line of ``tools/train.py`` adds to the configurations; ``None`` leaves it to them."""

    evaluate: bool = False
    resume: PathLike | None = None
    enable_ce: bool = False
    amp: bool = False
    use_vdl: bool = False
    vdl_log_dir: PathLike | None = None
    profiler_options: str | None = None


def train(
    cfg: Config,
    slim: Config | None = None,
    *,
    evaluate: bool = False,
    resume: PathLike | None = None,
    enable_ce: bool = False,
    amp: bool = False,
    use_vdl: bool = False,
    vdl_log_dir: PathLike | None = None,
    profiler_options: str | None = None,
) -> Path:
    """Train the detector of ``cfg``, distilled when there is a ``slim``; returns the run's folder.

    Args:
        cfg: the detector's configuration.
        slim: the distillation's configuration.
        evaluate: evaluate every checkpoint and keep the best one.
        resume: a checkpoint or a run's folder to continue from.
        enable_ce: seed 0 and no shuffling, so that two runs can be compared number by number.
        amp: mixed precision.
        use_vdl: write scalars for VisualDL below ``vdl_log_dir``.
        profiler_options: see :func:`ppkd.engine.hooks.profiler.parse_options`.

    Raises:
        PPKDError: a configuration, data set or weight file is wrong, or a loss is not finite.
        Interrupted: a signal came; a checkpoint was written.
    """
    options = TrainOptions(evaluate, resume, enable_ce, amp, use_vdl, vdl_log_dir, profiler_options)
    folder = run_folder(cfg)
    setup_logger(folder)
    record(logging.INFO, f"Environment: {current()}")
    try:
        trainer = build_trainer(cfg, slim, options)
        if resume is not None:
            trainer.resume(resume)
        if trainer.position.epoch >= trainer.epochs:
            logger.info("All %d epochs are done; train longer with -o epoch=...", trainer.epochs)
        trainer.train()
    except PPKDError as error:
        record(logging.ERROR, str(error))
        raise
    return folder


def distill(
    student: PathLike,
    slim: PathLike,
    *,
    overrides: Sequence[str] = (),
    evaluate: bool = False,
    resume: PathLike | None = None,
) -> Path:
    """Distil the detector of the file ``student`` as the file ``slim`` says; returns the run's folder.

    ``overrides`` are those of ``-o``: ``epoch=12``, ``slim.teacher.weights=...``.
    """
    own, of_slim = split_overrides(overrides)
    return train(load_config(student, own), load_config(slim, of_slim), evaluate=evaluate, resume=resume)


def run_folder(cfg: Config) -> Path:
    """Where a run's log and checkpoints are: ``{save_dir}/{filename}``."""
    options = runtime(cfg)
    return Path(options.save_dir) / options.filename


def build_trainer(cfg: Config, slim: Config | None, options: TrainOptions) -> Trainer:
    """Everything that ``cfg``, ``slim`` and ``options`` say, ready to train; configurations are checked first."""
    preparation.check_all(cfg, slim)
    settings = runtime(cfg)
    if settings.epoch < 1:
        raise ConfigError(f"{cfg.where()}: epoch is missing; say how long to train, e.g. with -o epoch=12")
    gpu = environment.choose_device(settings.use_gpu)
    seed = 0 if options.enable_ce else settings.seed
    seed_everything(seed)
    logger.info("Seed: %d", seed)
    if options.enable_ce:
        cfg = cfg.merge(freeze({"TrainReader": {"shuffle": False}}))
    dataset = preparation.open_dataset(cfg, "TrainDataset", settings.num_classes)
    loader = build_loader(cfg, "Train", dataset, seed=seed, **_unlabelled(slim))
    model = preparation.build_model(cfg, slim, settings.pretrain_weights if options.resume is None else None)
    preparation.log_size(cfg, settings, model.deployable())
    optimizer = build_optimizer(cfg, preparation.trained_parameters(model))
    ema = None
    if settings.use_ema:
        ema = ModelEMA(model.deployable(), decay=settings.ema_decay, decay_type=settings.ema_decay_type)
    numbers = precision.choose(amp=options.amp or settings.amp, level=settings.amp_level, gpu=gpu)
    folder = run_folder(cfg)
    identity = Identity(tuple(dataset.class_names), preparation.config_digest(cfg, slim))
    return Trainer(
        model,
        optimizer,
        build_schedule(cfg, len(loader)),
        loader,
        epochs=settings.epoch,
        checkpointer=Checkpointer(folder, model, optimizer, ema=ema, precision=numbers, identity=identity),
        hooks=[Preparation(training_set(cfg, dataset, folder)), *_hooks(cfg, settings, options, folder)],
        ema=ema,
        precision=numbers,
        network=environment.wrap(model, find_unused_parameters=settings.find_unused_parameters),
    )


def _unlabelled(slim: Config | None) -> dict[str, Any]:
    if slim is None or slim.get("UnlabelledDataset") is None:
        return {}
    dataset = build_dataset(slim, "UnlabelledDataset")
    logger.info("UnlabelledDataset: %s", dataset.summary)
    return {"unlabelled": dataset, "unlabelled_batch_size": slim.get("unlabelled_batch_size")}


def _hooks(cfg: Config, settings: Runtime, options: TrainOptions, folder: Path) -> list[Hook]:
    """The hooks of a run in the order in which they act; only the first of several processes has any."""
    if not environment.is_first():
        return []
    plan = SnapshotPlan(settings.snapshot_epoch)
    hooks: list[Hook] = [TrainingBar(), LogLines(settings.log_iter)]
    if options.profiler_options:
        hooks.append(Profiler(parse_options(options.profiler_options)))
    hooks.append(Snapshot(plan))
    if options.evaluate:
        hooks.append(_evaluation(cfg, settings, plan, folder))
    hooks.append(Results(folder))
    if options.use_vdl or settings.use_vdl:
        hooks.append(VisualDL(Path(options.vdl_log_dir or settings.vdl_log_dir), settings.log_iter))
    return [*hooks, StopOnSignal(SignalWatch())]


def _evaluation(cfg: Config, settings: Runtime, plan: SnapshotPlan, folder: Path) -> Evaluation:
    dataset = preparation.open_dataset(cfg, "EvalDataset", settings.num_classes)
    return Evaluation(plan, build_loader(cfg, "Eval", dataset), build_metric(cfg, dataset, output_dir=folder))
