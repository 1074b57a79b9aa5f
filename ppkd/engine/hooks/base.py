"""The events of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ppkd.engine.trainer import Step, Trainer


class Hook:
    """Does nothing at any event; subclasses override those they need."""

    def before_train(self, trainer: Trainer) -> None:
        """Once, after a resume."""

    def before_epoch(self, trainer: Trainer, epoch: int) -> None:
        """Before the first step of an epoch, or of the rest of a resumed one."""

    def after_step(self, trainer: Trainer, step: Step) -> None:
        """After the update; ``trainer.position`` is already that of the next step."""

    def after_epoch(self, trainer: Trainer, epoch: int) -> None:
        """After the last step of ``epoch``; what is saved now continues here, so that nothing is left out."""

    def epoch_done(self, trainer: Trainer, epoch: int) -> None:
        """After all that ``after_epoch`` does; ``trainer.position`` is the next epoch's start, and recorded."""

    def after_train(self, trainer: Trainer) -> None:
        """Once, when all epochs are done."""

    def close(self, trainer: Trainer) -> None:
        """Once, whatever ended the run."""
