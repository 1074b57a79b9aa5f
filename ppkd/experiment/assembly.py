"""The parts of an experiment, built and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ppkd.data import Loader, build_loader
from ppkd.data.repeated import RepeatedViews
from ppkd.distill import DistillModel
from ppkd.distill.balance_log import BalanceLog
from ppkd.distill.cache.fill import record_answers
from ppkd.distill.cache.teacher import CachedTeacher
from ppkd.engine import environment, precision
from ppkd.engine.checkpoint import Checkpointer, Identity
from ppkd.engine.ema import ModelEMA
from ppkd.engine.hooks.base import Hook
from ppkd.engine.hooks.preparation import Preparation
from ppkd.engine.protocols import Trainable
from ppkd.engine.random_state import seed_everything
from ppkd.engine.schedules import Schedule
from ppkd.engine.settings_record import record_settings
from ppkd.engine.trainer import Trainer
from ppkd.engine.update import Update
from ppkd.experiment.experiment import Experiment
from ppkd.experiment.hooks import build_hooks
from ppkd.experiment.parts import Images, build_models, log_size, open_images
from ppkd.experiment.quantising import quantise_student
from ppkd.experiment.training_set import training_set
from ppkd.utils import processes
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


@dataclass(frozen=True)
class Assembly:
    """A run that is ready to begin: what trains, its batches, and its model where that is a distillation model."""

    experiment: Experiment
    trainer: Trainer
    loader: Loader
    distilled: DistillModel | None


def assemble(experiment: Experiment) -> Assembly:
    """Everything that ``experiment`` says, ready to train; the configurations are checked first.

    Raises :class:`PPKDError` for wrong configurations, data sets and weight files.
    """
    experiment.check()
    settings = experiment.runtime
    gpu = environment.choose_device(settings.use_gpu, tf32=settings.tf32)
    seed_everything(settings.seed)
    logger.info("Seed: %d", settings.seed)
    images = open_images(experiment)
    loader = _loader(experiment, images)
    models = build_models(experiment, loader)
    experiment = experiment.pruned(models.pruned)
    _record_answers(experiment, loader, models.distilled)
    model = environment.synchronise_norms(models.trained, settings.norm_type, gpu)
    model = quantise_student(experiment, model, loader)
    if experiment.options.to_static:
        environment.compile_backbone(model.deployable())
    log_size(experiment.config, settings, model.deployable())
    update = _update(experiment, model, images, gpu)
    names = model.deployable().class_names = tuple(images.labelled.class_names)
    schedule = _schedule(experiment, loader)
    if not processes.is_first():
        seed_everything(settings.seed + processes.rank())
    trainer = Trainer(
        update,
        schedule,
        loader,
        epochs=settings.epoch,
        checkpointer=Checkpointer(experiment.folder, update, identity=_identity(experiment, names, schedule)),
        hooks=[
            Preparation(training_set(experiment, images.labelled)),
            *_balance_log(models.distilled),
            *build_hooks(experiment, gpu=gpu, names=names),
        ],
        accumulate=settings.gradient_accumulation_steps,
    )
    return Assembly(experiment, trainer, loader, models.distilled)


def _record_answers(experiment: Experiment, loader: Loader, model: DistillModel | None) -> None:
    """Let the teachers that have a cache record what is missing in it; not in a dry run."""
    teachers = {} if model is None else model.teachers
    if cached := {name: one for name, one in teachers.items() if isinstance(one, CachedTeacher)}:
        reader = experiment.config.to_dict()["TrainReader"]
        record_answers(cached, loader, reader, dry=experiment.options.dry_run)


def _balance_log(model: DistillModel | None) -> list[Hook]:
    return [] if model is None or model.balance is None else [BalanceLog(model.balance)]


def _loader(experiment: Experiment, images: Images) -> Loader:
    return build_loader(
        experiment.train_reader,
        images.labelled,
        seed=experiment.runtime.seed,
        accumulate=experiment.runtime.gradient_accumulation_steps,
        unlabelled=images.unlabelled,
        unlabelled_batch_size=None if experiment.slim is None else experiment.slim.unlabelled_batch_size,
        repeated=None if experiment.slim is None or not experiment.slim.views else RepeatedViews(experiment.slim.views),
    )


def _update(experiment: Experiment, model: Trainable, images: Images, gpu: bool) -> Update:
    settings, options = experiment.runtime, experiment.options
    trained = [parameter for _, parameter in model.named_parameters() if not parameter.stop_gradient]
    optimizer = experiment.optimizer.build(trained)
    ema = None
    if settings.use_ema:
        ema = ModelEMA(
            model.deployable(),
            decay=settings.ema_decay,
            decay_type=settings.ema_decay_type,
            black_list=settings.ema_black_list,
        )
    numbers = precision.choose(
        amp=options.amp or settings.amp, level=settings.amp_level, dtype=settings.amp_dtype, gpu=gpu
    )
    return Update(
        model,
        optimizer,
        folder=experiment.folder,
        ema=ema,
        precision=numbers,
        network=environment.wrap(model, find_unused_parameters=settings.find_unused_parameters, fleet=options.fleet),
        stop_after=settings.stop_after_non_finite,
        describe=images.names(),
    )


def _schedule(experiment: Experiment, loader: Loader) -> Schedule:
    batch = loader.images_per_update if experiment.options.auto_scale_lr else None
    return experiment.learning_rate.schedule(len(loader), batch_size=batch)


def _identity(experiment: Experiment, names: Sequence[str], schedule: Schedule) -> Identity:
    """What a run that is resumed must have in common with what was before."""
    flags = {"--amp": experiment.options.amp, "learning rate": schedule.base_lr, "processes": processes.count()}
    slim = None if experiment.slim is None else experiment.slim.config
    return Identity(tuple(names), record_settings(experiment.config, slim, **flags))
