"""Ending a run on Ctrl-C or SIGTERM with a checkpoint to resume from."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ppkd.engine.events import Step
from ppkd.engine.hooks.base import Hook, TrainingRun
from ppkd.engine.signals import Interrupted, SignalWatch
from ppkd.utils import itself, processes
from ppkd.utils.logger import SHOWN, get_logger

NAME = "interrupted"

logger = get_logger(__name__)


class StopOnSignal(Hook):
    """Saves ``interrupted.*`` after the step or evaluation in which a signal came, and says how to continue.

    A signal to one of several processes stops all of them at the same step. They ask each other every ``every`` steps,
    which waits for the device.
    """

    def __init__(self, watch: SignalWatch, *, every: int = 1) -> None:
        self._watch = watch
        self._every = every
        self._open = ExitStack()

    def before_train(self, run: TrainingRun) -> None:
        """Begin to watch."""
        self._open.enter_context(self._watch.installed())

    def after_step(self, run: TrainingRun, step: Step) -> None:
        """Stop when a signal has come."""
        if step.batch % self._every == 0:
            self._stop(run)

    def epoch_done(self, run: TrainingRun, epoch: int) -> None:
        """Stop when a signal came while the epoch was evaluated; a run that is done ends normally."""
        if run.position.epoch < run.epochs:
            self._stop(run)

    def _stop(self, run: TrainingRun) -> None:
        if processes.any_of(self._watch.received is not None):
            path = run.save(NAME)
            processes.wait_for_all()
            command = continue_command(path, sys.argv)
            logger.info("Stopped after %d steps. Continue with: %s", run.position.step, command, extra=SHOWN)
            self._watch.received = self._watch.received or signal.SIGTERM
            raise Interrupted(self._watch.received)

    def close(self, run: TrainingRun) -> None:
        """Give the signals back."""
        self._open.close()


def continue_command(checkpoint: Path, argv: Sequence[str]) -> str:
    """The command line that resumes from ``checkpoint``: that of this process, with its ``-r`` replaced."""
    command = itself.training_command(argv, ["-r", str(checkpoint)], without=("-r", "--resume"))
    return command or f"resume={checkpoint} in ppkd.TrainOptions, or `ppkd train` with -r {checkpoint}"
