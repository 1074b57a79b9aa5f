"""Scalars for VisualDL."""

from __future__ import annotations

from pathlib import Path

from ppkd.engine.events import Step
from ppkd.engine.hooks.base import Hook, TrainingRun
from ppkd.utils.visualdl import open_writer


class VisualDL(Hook):
    """Loss terms and learning rate every ``log_iter`` steps, the figures of every evaluation.

    Raises :class:`ConfigError` at construction when the package is not installed.
    """

    def __init__(self, folder: Path, log_iter: int) -> None:
        self._writer = open_writer(folder)
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
