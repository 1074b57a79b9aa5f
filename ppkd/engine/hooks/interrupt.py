"""Ending a run on Ctrl-C or SIGTERM with a checkpoint to resume from."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ppkd.engine.hooks.base import Hook
from ppkd.engine.signals import Interrupted, SignalWatch
from ppkd.utils import itself, processes
from ppkd.utils.logger import get_logger

if TYPE_CHECKING:
    from ppkd.engine.trainer import Step, Trainer

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

    def before_train(self, trainer: Trainer) -> None:
        """Begin to watch."""
        self._open.enter_context(self._watch.installed())

    def after_step(self, trainer: Trainer, step: Step) -> None:
        """Stop when a signal has come."""
        if step.batch % self._every == 0:
            self._stop(trainer)

    def epoch_done(self, trainer: Trainer, epoch: int) -> None:
        """Stop when a signal came while the epoch was evaluated; a run that is done ends normally."""
        if trainer.position.epoch < trainer.epochs:
            self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        if processes.any_of(self._watch.received is not None):
            path = trainer.save(NAME)
            processes.wait_for_all()
            command = continue_command(path, sys.argv)
            logger.info("Stopped after %d steps. Continue with: %s", trainer.position.step, command)
            raise Interrupted(self._watch.received or signal.SIGTERM)

    def close(self, trainer: Trainer) -> None:
        """Give the signals back."""
        self._open.close()


def continue_command(checkpoint: Path, argv: Sequence[str]) -> str:
    """The command line that resumes from ``checkpoint``: that of this process, with its ``-r`` replaced."""
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes.on_this_machine())]
    started = itself.training(argv, launch if processes.count() > 1 else ())
    if started is None:
        return f"resume={checkpoint} in ppkd.engine.train, or `ppkd train` with -r {checkpoint}"
    command, flags = started
    kept: list[str] = []
    arguments = iter(flags)
    for argument in arguments:
        if argument in ("-r", "--resume"):
            next(arguments, None)
        elif not argument.startswith("--resume="):
            kept.append(argument)
    return shlex.join([*command, *kept, "-r", str(checkpoint)])
