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
from ppkd.engine.non_finite import Guard, image_namer
from ppkd.engine.optim import build_optimizer
from ppkd.engine.preflight import run_preflight
from ppkd.engine.random_state import seed_everything
from ppkd.engine.schedules import build_schedule
from ppkd.engine.settings_record import record_settings
from ppkd.engine.signals import SignalWatch
from ppkd.engine.trainer import Trainer
from ppkd.engine.training_set import training_set
from ppkd.metrics import build_metric
from ppkd.utils import processes
from ppkd.utils.class_names import refuse_other_names
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
    force: bool = False
    fleet: bool = False
    auto_scale_lr: bool = False
    to_static: bool = False


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
    force: bool = False,
    fleet: bool = False,
    auto_scale_lr: bool = False,
    to_static: bool = False,
    dry_run: bool = False,
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
        force: resume although teacher or settings have changed.
        fleet: let Paddle's fleet connect several processes.
        auto_scale_lr: scale the learning rate from ``LearningRate.base_batch_size`` to the images of an update.
        to_static: let the student's backbone run as a static graph.
        dry_run: do everything that comes before the first step, and stop.

    Raises:
        PPKDError: a configuration, data set or weight file is wrong, the teacher cannot teach, or too many steps in a
            row were not finite.
        Interrupted: a signal came; a checkpoint was written.
    """
    options = TrainOptions(
        evaluate, resume, enable_ce, amp, use_vdl, vdl_log_dir, profiler_options, force, fleet, auto_scale_lr, to_static
    )
    folder = run_folder(cfg)
    setup_logger(folder)
    record(logging.INFO, f"Environment: {current()}")
    try:
        trainer = build_trainer(cfg, slim, options)
        if resume is not None:
            trainer.resume(resume, force=force)
        if trainer.position.epoch >= trainer.epochs:
            logger.info("All %d epochs are done; train longer with -o epoch=...", trainer.epochs)
        else:
            run_preflight(cfg, slim, trainer, resumed=resume is not None)
        if not dry_run:
            trainer.train()
    except RuntimeError as error:
        ended = environment.ended_peer(error)
        if ended is None:
            raise
        record(logging.ERROR, str(ended))
        raise ended from error
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
    unlabelled = _unlabelled(slim)
    loader = build_loader(cfg, "Train", dataset, seed=seed, **unlabelled)
    model = preparation.build_model(cfg, slim, settings.pretrain_weights if options.resume is None else None)
    model = environment.synchronise_norms(model, settings.norm_type, gpu)
    if options.to_static:
        environment.compile_backbone(model.deployable())
    preparation.log_size(cfg, settings, model.deployable())
    optimizer = build_optimizer(cfg, preparation.trained_parameters(model))
    ema = None
    if settings.use_ema:
        ema = ModelEMA(model.deployable(), decay=settings.ema_decay, decay_type=settings.ema_decay_type)
    numbers = precision.choose(
        amp=options.amp or settings.amp, level=settings.amp_level, dtype=settings.amp_dtype, gpu=gpu
    )
    folder = run_folder(cfg)
    guard = Guard(
        model,
        numbers,
        folder=folder,
        stop_after=settings.stop_after_non_finite,
        describe=image_namer(dataset, unlabelled.get("unlabelled")),
    )
    names = model.deployable().class_names = tuple(dataset.class_names)
    batch = loader.images_per_update if options.auto_scale_lr else None
    schedule = build_schedule(cfg, len(loader), batch_size=batch)
    identity = Identity(names, _recorded(cfg, slim, options, schedule.base_lr))
    if not processes.is_first():
        seed_everything(seed + processes.rank())
    return Trainer(
        model,
        optimizer,
        schedule,
        loader,
        epochs=settings.epoch,
        checkpointer=Checkpointer(folder, model, optimizer, ema=ema, precision=numbers, identity=identity),
        hooks=[Preparation(training_set(cfg, dataset, folder)), *_hooks(cfg, settings, options, folder, gpu, names)],
        ema=ema,
        precision=numbers,
        guard=guard,
        network=environment.wrap(model, find_unused_parameters=settings.find_unused_parameters, fleet=options.fleet),
        accumulate=settings.gradient_accumulation_steps,
    )


def _unlabelled(slim: Config | None) -> dict[str, Any]:
    if slim is None or slim.get("UnlabelledDataset") is None:
        return {}
    dataset = build_dataset(slim, "UnlabelledDataset")
    logger.info("UnlabelledDataset: %s", dataset.summary)
    return {"unlabelled": dataset, "unlabelled_batch_size": slim.get("unlabelled_batch_size")}


def _recorded(cfg: Config, slim: Config | None, options: TrainOptions, base_lr: float) -> dict[str, str]:
    """What a run that is resumed must have in common with what was before."""
    flags = {"--amp": options.amp, "learning rate": base_lr, "processes": processes.count()}
    return record_settings(cfg, slim, **flags)


def _hooks(
    cfg: Config, settings: Runtime, options: TrainOptions, folder: Path, gpu: bool, names: Sequence[str]
) -> list[Hook]:
    """The hooks of a run in the order in which they act; only the first of several processes writes or shows any."""
    first = processes.is_first()
    plan = SnapshotPlan(settings.snapshot_epoch)
    hooks: list[Hook] = [TrainingBar()] if first else []
    hooks.append(LogLines(settings.log_iter))
    if options.profiler_options and first:
        hooks.append(Profiler(parse_options(options.profiler_options)))
    hooks.append(Snapshot(plan))
    if options.evaluate:
        hooks.append(_evaluation(cfg, settings, plan, folder, names))
    if first:
        hooks.append(Results(folder))
    if first and (options.use_vdl or settings.use_vdl):
        hooks.append(VisualDL(Path(options.vdl_log_dir or settings.vdl_log_dir), settings.log_iter))
    return [*hooks, StopOnSignal(SignalWatch(), every=settings.log_iter if gpu and processes.count() > 1 else 1)]


def _evaluation(cfg: Config, settings: Runtime, plan: SnapshotPlan, folder: Path, names: Sequence[str]) -> Evaluation:
    dataset = preparation.open_dataset(cfg, "EvalDataset", settings.num_classes)
    where = cfg.where("EvalDataset")
    refuse_other_names(names, dataset.class_names, where=where, label="EvalDataset", source="TrainDataset has")
    return Evaluation(plan, build_loader(cfg, "Eval", dataset), build_metric(cfg, dataset, output_dir=folder))
