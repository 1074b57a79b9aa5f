"""Checkpoints every few epochs, evaluation of each, and the best model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ppkd.engine import environment
from ppkd.engine.evaluation import Metric, evaluate
from ppkd.engine.hooks.base import Hook
from ppkd.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ppkd.engine.trainer import Trainer
    from ppkd.structures import Batch

FINAL = "model_final"
BEST = "best_model"

logger = get_logger(__name__)


class SnapshotPlan:
    """Which epochs end with a checkpoint, and its name: every ``interval``-th, and the last one."""

    def __init__(self, interval: int) -> None:
        self._interval = interval

    def due(self, trainer: Trainer, epoch: int) -> bool:
        """Whether ``epoch`` ends with a checkpoint."""
        return (epoch + 1) % self._interval == 0 or epoch == trainer.epochs - 1

    def name(self, trainer: Trainer, epoch: int) -> str:
        """The file name of that checkpoint, without extension."""
        return FINAL if epoch == trainer.epochs - 1 else str(epoch)


class Snapshot(Hook):
    """Writes the checkpoints of ``plan``."""

    def __init__(self, plan: SnapshotPlan) -> None:
        self._plan = plan

    def after_epoch(self, trainer: Trainer, epoch: int) -> None:
        """Save when it is the epoch's turn."""
        if self._plan.due(trainer, epoch):
            trainer.save(self._plan.name(trainer, epoch))


class Evaluation(Hook):
    """Evaluates each checkpoint of ``plan`` after it was written, and keeps the best one as ``best_model``.

    Args:
        plan: the same plan as the snapshots'.
        loader: evaluation batches.
        metric: begins anew with each evaluation.
    """

    def __init__(
        self,
        plan: SnapshotPlan,
        loader: Iterable[Batch],
        metric: Metric,
    ) -> None:
        self._plan = plan
        self._loader = loader
        self._metric = metric

    def after_epoch(self, trainer: Trainer, epoch: int) -> None:
        """Evaluate when the epoch ended with a checkpoint."""
        if not self._plan.due(trainer, epoch):
            return
        with trainer.averaged():
            environment.share_statistics(trainer.model.deployable())
            trainer.figures = evaluate(trainer.model.deployable(), self._loader, self._metric)
        position, value = trainer.position, trainer.figures[self._metric.headline]
        improved = not math.isnan(value) and (position.best is None or value > position.best)
        if improved:
            position.best, position.best_epoch = value, epoch
        if improved:
            trainer.save(BEST)
        logger.info("Best test bbox ap is %0.3f.", value if position.best is None else position.best)
