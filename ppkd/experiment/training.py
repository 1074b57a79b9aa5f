"""A whole run from configurations."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ppkd.config import Config, load_config, split_overrides
from ppkd.engine import environment
from ppkd.experiment.assembly import assemble
from ppkd.experiment.calibration import run_calibration
from ppkd.experiment.experiment import Experiment
from ppkd.experiment.folder import choose, claim
from ppkd.experiment.options import DEFAULTS, PathLike, TrainOptions
from ppkd.experiment.preflight import run_preflight, write_report
from ppkd.experiment.report import report_training
from ppkd.experiment.told import check_baseline, tell_beginning, tell_end
from ppkd.utils import processes
from ppkd.utils.errors import PPKDError
from ppkd.utils.logger import get_logger, record, setup_logger
from ppkd.utils.runtime import current

logger = get_logger(__name__)


def train(cfg: Config, slim: Config | None = None, options: TrainOptions = DEFAULTS, **changed: Any) -> Path:
    """Train the detector of ``cfg``, distilled when there is a ``slim``; returns the run's folder.

    ``changed`` are fields of ``options`` by name: ``evaluate=True``, ``resume="output/my_run"``.

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
    experiment = Experiment.parse(cfg, slim, options)
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
    slim: PathLike,
    *,
    overrides: Sequence[str] = (),
    options: TrainOptions = DEFAULTS,
    **changed: Any,
) -> Path:
    """Distil the detector of the file ``student`` as the file ``slim`` says; returns the run's folder.

    ``overrides`` are those of ``-o``: ``epoch=12``, ``slim.teacher.weights=...``; ``options`` and ``changed`` are those
    of :func:`train`, which says what is raised.
    """
    own, of_slim = split_overrides(overrides)
    return train(load_config(student, own), load_config(slim, of_slim), options, **changed)


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
