"""Scalars for VisualDL and the like."""

from __future__ import annotations

from ppkd.engine.events import Step
from ppkd.engine.hooks.base import Hook, TrainingRun
from ppkd.utils.trackers import ScalarWriter


class Scalars(Hook):
    """Loss terms and learning rate every ``log_iter`` steps, the figures of every evaluation, to one writer."""

    def __init__(self, writer: ScalarWriter, log_iter: int) -> None:
        self._writer = writer
        self._log_iter = log_iter

    def after_step(self, run: TrainingRun, step: Step) -> None:
        """Write the losses when it is their turn."""
        if step.batch % self._log_iter == 0:
            run.events.losses.read()
            for name, value in run.events.losses.medians().items():
                self._writer.add_scalar(name, value, step.number)
            self._writer.add_scalar("learning_rate", step.learning_rate, step.number)

    def after_epoch(self, run: TrainingRun, epoch: int) -> None:
        """Write the figures."""
        for name, value in run.events.figures.items():
            self._writer.add_scalar(name, value, epoch)

    def close(self, run: TrainingRun) -> None:
        """Flush."""
        self._writer.close()
