"""Checkpoints every few epochs, evaluation of each, and the best model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppkd.engine import environment
from ppkd.engine.evaluation import Metric, evaluate
from ppkd.engine.hooks.base import Hook, TrainingRun
from ppkd.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ppkd.structures import Batch

FINAL = "model_final"
BEST = "best_model"

logger = get_logger(__name__)


class SnapshotPlan:
    """Which epochs end with a checkpoint, and its name: every ``interval``-th, and the last one."""

    def __init__(self, interval: int) -> None:
        self._interval = interval

    def due(self, run: TrainingRun, epoch: int) -> bool:
        """Whether ``epoch`` ends with a checkpoint."""
        return (epoch + 1) % self._interval == 0 or epoch == run.epochs - 1

    def name(self, run: TrainingRun, epoch: int) -> str:
        """The file name of that checkpoint, without extension."""
        return FINAL if epoch == run.epochs - 1 else str(epoch)


class Snapshot(Hook):
    """Writes the checkpoints of ``plan``."""

    def __init__(self, plan: SnapshotPlan) -> None:
        self._plan = plan

    def after_epoch(self, run: TrainingRun, epoch: int) -> None:
        """Save when it is the epoch's turn."""
        if self._plan.due(run, epoch):
            run.save(self._plan.name(run, epoch))


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

    def after_epoch(self, run: TrainingRun, epoch: int) -> None:
        """Evaluate when the epoch ended with a checkpoint."""
        if not self._plan.due(run, epoch):
            return
        with run.averaged():
            environment.share_statistics(run.model.deployable())
            figures = evaluate(run.model.deployable(), self._loader, self._metric)
        run.events.put(figures)
        value = figures[self._metric.headline]
        if run.position.improve(value):
            run.save(BEST)
        best = run.position.best
        logger.info("Best test bbox ap is %0.3f.", value if best is None else best)
