"""Checkpoints every few epochs, evaluation of each, and the best model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppkd.engine import environment
from ppkd.engine.evaluation import Metric, evaluate
from ppkd.engine.hooks.base import Hook, TrainingRun
from ppkd.utils.errors import TrainingError
from ppkd.utils.logger import SHOWN, get_logger

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
        best_by: the figure by which the best one is chosen, the larger the better; the metric's headline if not given.
        patience: evaluations in a row that may fail to be better before the run ends early; never if not given.
    """

    def __init__(
        self,
        plan: SnapshotPlan,
        loader: Iterable[Batch],
        metric: Metric,
        *,
        best_by: str | None = None,
        patience: int | None = None,
    ) -> None:
        self._plan = plan
        self._loader = loader
        self._metric = metric
        self._best_by = best_by or metric.headline
        self._patience = patience

    def before_train(self, run: TrainingRun) -> None:
        """End a resumed run that has ended early before."""
        self._end_early(run, run.position.epoch - 1)

    def after_epoch(self, run: TrainingRun, epoch: int) -> None:
        """Evaluate when the epoch ended with a checkpoint."""
        if not self._plan.due(run, epoch):
            return
        with run.averaged():
            environment.share_statistics(run.model.deployable())
            figures = evaluate(run.model.deployable(), self._loader, self._metric)
        run.events.put(figures)
        if self._best_by not in figures:
            raise TrainingError(f"best_by is {self._best_by}, but this evaluation gives {', '.join(figures)} alone")
        value = figures[self._best_by]
        if run.position.improve(value):
            run.save(BEST)
        best = run.position.best
        name = "bbox ap" if self._best_by == self._metric.headline else self._best_by
        logger.info("Best test %s is %0.3f.", name, value if best is None else best)
        if self._end_early(run, epoch):
            run.save(FINAL)

    def _end_early(self, run: TrainingRun, epoch: int) -> bool:
        """Whether so many evaluations up to that of ``epoch`` were not better that the run ends, which it then does."""
        best = run.position.best_epoch
        if self._patience is None or best is None or epoch >= run.epochs - 1:
            return False
        # Counted from the position alone, so that a resumed run ends where one without a pause does.
        worse = sum(self._plan.due(run, each) for each in range(best + 1, epoch + 1))
        if worse < self._patience:
            return False
        logger.info(
            "%s has not risen in %d evaluations since epoch %d (patience: %d): training ends",
            self._best_by,
            worse,
            best,
            self._patience,
            extra=SHOWN,
        )
        run.finish()
        return True
