"""The events of a training run, and what hooks see of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ppkd.engine.events import EventStorage, Step
from ppkd.engine.position import Position
from ppkd.engine.protocols import BatchLoader, Trainable
from ppkd.engine.schedules import Schedule


class TrainingRun(Protocol):
    """What hooks see of the run they belong to.

    Attributes:
        model: what is trained.
        loader: the training batches.
        schedule: the learning rate by step.
        epochs: how many epochs the whole run has.
        position: how far it is.
        events: the figures of the present epoch, to read and to add to.
    """

    model: Trainable
    loader: BatchLoader
    schedule: Schedule
    epochs: int
    position: Position
    events: EventStorage

    def save(self, name: str) -> Path:
        """Write a checkpoint."""

    def finish(self) -> None:
        """Let no further epoch begin."""

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the student carries the weights that are shipped."""


class Hook:
    """Does nothing at any event; subclasses override those they need."""

    def before_train(self, run: TrainingRun) -> None:
        """Once, after a resume."""

    def before_epoch(self, run: TrainingRun, epoch: int) -> None:
        """Before the first step of an epoch, or of the rest of a resumed one."""

    def after_step(self, run: TrainingRun, step: Step) -> None:
        """After the update; ``run.position`` is already that of the next step."""

    def after_epoch(self, run: TrainingRun, epoch: int) -> None:
        """After the last step of ``epoch``; what is saved now continues here, so that nothing is left out."""

    def epoch_done(self, run: TrainingRun, epoch: int) -> None:
        """After all that ``after_epoch`` does; ``run.position`` is the next epoch's start, and recorded."""

    def after_train(self, run: TrainingRun) -> None:
        """Once, when all epochs are done."""

    def close(self, run: TrainingRun) -> None:
        """Once, whatever ended the run."""
