"""Pruning of a student before it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ppkd.data import Loader
from ppkd.engine.checkpoint_files import WEIGHTS, file_of, resolve
from ppkd.experiment.experiment import Experiment
from ppkd.models.detectors.detector import Detector
from ppkd.models.pruning.groups import groups
from ppkd.models.pruning.labels import Labels
from ppkd.models.pruning.search import ratios_for
from ppkd.models.pruning.sensitivity import sensitivity
from ppkd.models.pruning.settings import Choice, PruneSettings, choose
from ppkd.models.pruning.shrink import Shapes, remove, resize, shapes_in
from ppkd.models.pruning.trace import Channels, trace
from ppkd.report.complexity import complexity, image_size, operations
from ppkd.utils import processes
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


def prune_student(experiment: Experiment, student: Detector, loader: Loader) -> Shapes:
    """Prune ``student`` as the slim file says; returns the shapes of what became smaller.

    A resumed student gets the shapes of its checkpoint. Raises :class:`ConfigError` for weights that the student does
    not have or that cannot be pruned, and for a target that cannot be met.
    """
    settings = None if experiment.slim is None else experiment.slim.pruning
    if settings is None:
        return {}
    if experiment.options.resume is not None:
        return _as_before(experiment, student)
    if not experiment.runtime.pretrain_weights:
        logger.warning("The student that is pruned has random weights: name trained ones with -o pretrain_weights=...")
    size = image_size(experiment.config)
    before, channels = complexity(student, *size), trace(student)
    choices = choose(settings, student, groups(channels, student))
    if settings.target is not None:
        choices = _by_sensitivity(settings, student, channels, choices, loader, size)
    shapes = remove(student, channels, _removed(student, settings, choices))
    after = complexity(student, *size)
    logger.info(
        "Pruned by %s: %.6fG -> %.6fG operations (-%.2f%%), %.6f -> %.6f M parameters, for an image of %d x %d",
        settings.criterion,
        before.gflops,
        after.gflops,
        100 * (1 - after.gflops / before.gflops),
        before.parameters / 1e6,
        after.parameters / 1e6,
        *size,
    )
    return shapes


def _as_before(experiment: Experiment, student: Detector) -> Shapes:
    """The shapes of the checkpoint; none if the configuration is that of the run's folder, which has them."""
    if experiment.config.get("pruned") is not None:
        return {}
    shapes = shapes_in(file_of(resolve(str(experiment.options.resume)), WEIGHTS), student)
    resize(student, shapes)
    return shapes


def _removed(student: Detector, settings: PruneSettings, choices: Sequence[Choice]) -> Labels:
    weakest = [each.group.weakest(student, settings.criterion, each.ratio, each.judged) for each in choices]
    return np.concatenate(weakest) if weakest else np.zeros(0, np.int64)


def _by_sensitivity(
    settings: PruneSettings,
    student: Detector,
    channels: Channels,
    choices: Sequence[Choice],
    loader: Loader,
    size: tuple[int, int],
) -> list[Choice]:
    """``choices`` with the ratios for the target, the same in all processes."""
    batches = [loader.peek(0, number) for number in range(min(settings.batches, len(loader)))]
    by_name = {each.judged: each for each in choices}
    named = {name: each.group for name, each in by_name.items()}
    grown = processes.gather(sensitivity(student, channels, named, settings.criterion, batches))[0]
    counted = operations(student, *size)
    whole = sum(counted.values())

    def share(ratios: Mapping[str, float]) -> float:
        chosen = [Choice(name, by_name[name].group, ratio) for name, ratio in ratios.items()]
        gone = _removed(student, settings, chosen)
        kept = {axis: 1 - np.isin(line, gone).mean() for axis, line in channels.axes.items()}
        return (
            sum(
                count * kept.get((f"{name}.weight", 0), 1.0) * kept.get((f"{name}.weight", 1), 1.0)
                for name, count in counted.items()
            )
            / whole
        )

    assert settings.target is not None
    try:
        ratios = ratios_for(grown, settings.target, share)
    except ConfigError as error:
        raise ConfigError(f"{settings.mark}: Pruner.{error}") from None
    for name, ratio in ratios.items():
        logger.info("Pruned: %.1f%% of %s (loss grows by %s)", 100 * ratio, name, _shown(grown[name]))
    return [Choice(name, by_name[name].group, ratio) for name, ratio in ratios.items()]


def _shown(growth: Sequence[float]) -> str:
    return ", ".join(f"{100 * value:.1f}%" for value in growth)
