"""The training lines that benchmark parsers key on; on a terminal they go to the log's file alone."""

from __future__ import annotations

from collections import deque
from datetime import timedelta

from ppkd.engine.events import Step
from ppkd.engine.hooks.base import Hook, TrainingRun
from ppkd.engine.loss_window import WINDOW
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


class LogLines(Hook):
    """One line every ``log_iter`` steps of an epoch, its first included: medians and mean times of 20 steps."""

    def __init__(self, log_iter: int) -> None:
        self._log_iter = log_iter
        self._recent: deque[Step] = deque(maxlen=WINDOW)
        self._seconds = 0.0
        self._steps = 0

    def after_step(self, run: TrainingRun, step: Step) -> None:
        """Count the step; log when it is its turn."""
        self._recent.append(step)
        self._seconds += step.batch_cost
        self._steps += 1
        if step.batch % self._log_iter == 0:
            run.events.losses.read()
            logger.info(self._line(run, step))

    def _line(self, run: TrainingRun, step: Step) -> str:
        per_epoch = len(run.loader)
        batch_cost = sum(recent.batch_cost for recent in self._recent) / len(self._recent)
        data_cost = sum(recent.data_cost for recent in self._recent) / len(self._recent)
        images = sum(recent.images for recent in self._recent) / len(self._recent)
        left = (run.epochs - step.epoch) * per_epoch - step.batch
        losses = " ".join(f"{name}: {value:.6f}" for name, value in run.events.losses.medians().items())
        return (
            f"Epoch: [{step.epoch}] [{step.batch:{len(str(per_epoch))}d}/{per_epoch}] "
            f"learning_rate: {step.learning_rate:.6f} {losses} "
            f"eta: {timedelta(seconds=int(left * self._seconds / self._steps))} "
            f"batch_cost: {batch_cost:.4f} data_cost: {data_cost:.4f} ips: {images / batch_cost:.4f} images/s"
        )
