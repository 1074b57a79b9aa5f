"""A whole run from configurations."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ppkd.config import Config, load_config, overridden, split_overrides
from ppkd.config.value import Mark
from ppkd.engine import environment
from ppkd.experiment.assembly import assemble
from ppkd.experiment.calibration import run_calibration
from ppkd.experiment.experiment import Experiment
from ppkd.experiment.folder import choose, claim
from ppkd.experiment.options import DEFAULTS, PathLike, TrainOptions
from ppkd.experiment.preflight import run_preflight, write_report
from ppkd.experiment.report import report_training
from ppkd.experiment.told import check_baseline, tell_beginning, tell_end
from ppkd.experiment.tuning import BATCH, with_largest_batch
from ppkd.utils import processes
from ppkd.utils.errors import ConfigError, PPKDError
from ppkd.utils.logger import get_logger, record, setup_logger
from ppkd.utils.runtime import current

logger = get_logger(__name__)

METHOD = "cwd"
"""The slim file of :func:`distill` unless one is named."""
OF_DATA = ("metric", "map_type", "num_classes", "TrainDataset", "EvalDataset", "TestDataset")
FROM_CALL = Mark("ppkd.distill")


def train(
    cfg: Config | PathLike, slim: Config | PathLike | None = None, options: TrainOptions = DEFAULTS, **changed: Any
) -> Path:
    """Train the detector of ``cfg``, distilled when there is a ``slim``; returns the run's folder.

    Both are loaded configurations, or files or shipped names. ``changed`` are fields of ``options`` by name:
    ``evaluate=True``, ``resume="output/my_run"``.

    The folder is ``{save_dir}/{filename}``, by default ``output/`` and the names of both files; see
    :func:`ppkd.experiment.folder.choose` for one that is used already. The resolved configurations are written to it.

    Raises:
        PPKDError: a configuration, data set or weight file is wrong, the teacher cannot teach, or too many steps in a
            row were not finite.
        Interrupted: a signal came; a checkpoint was written.
    """
    options = replace(options, **changed)
    baseline = None if options.baseline is None else Path(options.baseline)
    if baseline is not None:
        check_baseline(baseline)
    experiment = _experiment(_loaded(cfg), None if slim is None else _loaded(slim), options)
    folder = choose(experiment)
    experiment = experiment.at(folder.path)
    setup_logger(folder.path)
    if folder.remark and processes.is_first():
        logger.warning("%s", folder.remark)
    record(logging.INFO, f"Environment: {current()}, tf32 on GPUs: {experiment.runtime.tf32}")
    with _errors_recorded():
        assembly = assemble(experiment)
        trainer = assembly.trainer
        if options.resume is not None:
            trainer.resume(options.resume, force=options.force)
        losses = None
        if trainer.position.epoch >= trainer.epochs:
            logger.info("All %d epochs are done; train longer with -o epoch=...", trainer.epochs)
        else:
            run_calibration(assembly)
            losses = run_preflight(assembly)
            if processes.is_first():
                tell_beginning(assembly, losses.seconds)
        if not options.dry_run:
            claim(assembly.experiment)
            if losses is not None and processes.is_first():
                write_report(folder.path, losses)
            trainer.train()
    if not options.dry_run and processes.is_first():
        if options.evaluate:
            report_training(folder.path, baseline)
        tell_end(folder.path, experiment.runtime, trainer.position, baseline)
    return folder.path


def distill(
    student: PathLike,
    slim: PathLike | None = None,
    *,
    teacher: PathLike | None = None,
    data: PathLike | None = None,
    method: str | None = None,
    overrides: Sequence[str] = (),
    options: TrainOptions = DEFAULTS,
    **changed: Any,
) -> Path:
    """Distil a student from a teacher; returns the run's folder.

    Args:
        student: the student's configuration, a file or a shipped name.
        slim: file that says how; with it there is no ``method``.
        teacher: folder of the run that trained the teacher, in place of the file's.
        data: file whose data sets and ``num_classes`` take the place of the student's, such as ``ppkd init`` writes.
        method: name of a shipped slim file, ``cwd`` (the default), ``fgd``, ``crosskd_small``, ...
        overrides: those of ``-o``: ``epoch=12``, ``slim.losses.cwd.weight=5``.
        options: see :class:`TrainOptions`.
        **changed: fields of ``options`` by name.

    Raises:
        PPKDError: what :func:`train` raises; both of ``slim`` and ``method``; a ``data`` that is no such file.
    """
    if slim is not None and method is not None:
        raise ConfigError(f"distill: give slim ({os.fspath(slim)}) or method ({method}), not both")
    own, of_slim = split_overrides(overrides)
    cfg = load_config(student, own) if data is None else overridden(_with_data(load_config(student), data), own)
    how = load_config(slim or method or METHOD, of_slim)
    if teacher is not None:
        how = how.with_item("teacher", os.fspath(teacher), FROM_CALL)
    return train(cfg, how, options, **changed)


def _with_data(cfg: Config, data: PathLike) -> Config:
    """``cfg`` with the data sets of the file ``data``, none of whose settings are mixed with those before."""
    if Path(data).is_dir():
        raise ConfigError(f"distill: data is the folder {data}: `ppkd init {data}` writes a data file for it")
    found = load_config(data)
    wrong = [key for key in found if key not in OF_DATA]
    if wrong or "TrainDataset" not in found:
        raise ConfigError(f"{found.path}: no data file, which has {', '.join(OF_DATA)}, and nothing besides")
    for key in found:
        cfg = cfg.with_item(key, found[key], found.mark(key))
    return cfg


def _experiment(cfg: Config, slim: Config | None, options: TrainOptions) -> Experiment:
    if options.tune == BATCH:
        cfg = with_largest_batch(cfg, slim, options)
    return Experiment.parse(cfg, slim, options)


def _loaded(given: Config | PathLike) -> Config:
    return given if isinstance(given, Config) else load_config(given)


@contextmanager
def _errors_recorded() -> Iterator[None]:
    """What ends the run stands in its log as well."""
    try:
        yield
    except RuntimeError as error:
        ended = environment.ended_peer(error)
        if ended is None:
            raise
        record(logging.ERROR, str(ended))
        raise ended from error
    except PPKDError as error:
        record(logging.ERROR, str(error))
        raise
