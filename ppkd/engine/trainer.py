"""The training loop: one step function, everything else is hooks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from ppkd.engine.accumulation import grouped
from ppkd.engine.checkpoint import Checkpointer
from ppkd.engine.events import EventStorage, Step
from ppkd.engine.hooks.base import Hook, TrainingRun
from ppkd.engine.position import Position
from ppkd.engine.protocols import BatchLoader, Trainable
from ppkd.engine.random_state import batches_apart
from ppkd.engine.schedules import Schedule
from ppkd.engine.update import Update
from ppkd.structures import Batch

_Item = TypeVar("_Item")


class Trainer:
    """Trains the model of ``update`` for ``epochs`` epochs.

    Args:
        update: what is done with the batches of a step.
        schedule: learning rate by step.
        loader: batches; its position is set at the start of every epoch.
        epochs: how many epochs the whole run has, those before a resume included.
        checkpointer: writes and reads checkpoints.
        hooks: called in this order at each event.
        accumulate: batches of the loader per update; everything else counts updates.
    """

    def __init__(
        self,
        update: Update,
        schedule: Schedule,
        loader: BatchLoader,
        *,
        epochs: int,
        checkpointer: Checkpointer,
        hooks: Sequence[Hook] = (),
        accumulate: int = 1,
    ) -> None:
        self.update = update
        self.model: Trainable = update.model
        self.schedule = schedule
        self.loader = loader
        self.epochs = epochs
        self.position = Position()
        self.events = EventStorage()
        self._checkpointer = checkpointer
        self._hooks = tuple(hooks)
        self._accumulate = accumulate
        self._saved: list[str] = []
        self._finished = False

    def train(self) -> None:
        """Run the epochs from the present position on.

        Raises :class:`TrainingError` when too many steps in a row were not finite and :class:`Interrupted` after a
        signal.
        """
        try:
            self._notify("before_train")
            while self.position.epoch < self.epochs and not self._finished:
                self.run_epoch()
            self._notify("after_train")
        finally:
            self._notify("close")

    def run_epoch(self) -> None:
        """The rest of the present epoch."""
        epoch = self.position.epoch
        self._begin_epoch(epoch)
        started = time.perf_counter()
        for batches, waited in _timed(grouped(batches_apart(self.loader), self._accumulate)):
            position, rate = (self.position.batch, self.position.step), self.schedule(self.position.step)
            self.run_step(batches, rate)
            now = time.perf_counter()
            images = sum(batch["image"].shape[0] for batch in batches)
            step = Step(epoch, *position, rate, images, waited, now - started)
            started = now
            self._notify("after_step", step)
        self.events.losses.read()
        self._end_epoch(epoch)

    def run_step(self, batches: Sequence[Batch], rate: float) -> None:
        """One update on ``batches`` at learning rate ``rate``, unless a loss or gradient of them is not finite."""
        at = self.position
        self.model.set_progress(at.epoch + at.batch / len(self.loader), at.step)
        terms = self.update(batches, rate, at)
        if terms is not None:
            self.events.losses.add(terms)
        at.advance()

    def save(self, name: str) -> Path:
        """Write a checkpoint; raises :class:`TrainingError`, before a file is touched, if a weight is not finite."""
        self.events.losses.read()
        self._saved.append(name)
        return self._checkpointer.save(name, self.position, self.events.losses.state())

    def resume(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Continue from the checkpoint that ``path`` means; ``force``: though teacher or settings have changed."""
        self.position, losses = self._checkpointer.restore(path, force=force)
        self.events.losses.restore(losses)

    def finish(self) -> None:
        """Let no further epoch begin."""
        self._finished = True

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the student carries what ``.pdparams`` holds: the averaged weights if there is an average."""
        return self.update.averaged()

    def _begin_epoch(self, epoch: int) -> None:
        self.events.begin_epoch(whole=self.position.batch == 0)
        self.loader.start(epoch, self.position.batch)
        self.model.train()
        self._notify("before_epoch", epoch)

    def _end_epoch(self, epoch: int) -> None:
        """Snapshot, evaluation and so on, from checkpoints of which they would all be done again."""
        self._saved.clear()
        self._notify("after_epoch", epoch)
        self.position.next_epoch()
        for name in dict.fromkeys(self._saved):
            self._checkpointer.save_states(name, self.position, self.events.losses.state())
        self._notify("epoch_done", epoch)

    def _notify(self, event: str, *facts: Any) -> None:
        run: TrainingRun = self
        for hook in self._hooks:
            getattr(hook, event)(run, *facts)


def _timed(items: Iterable[_Item]) -> Iterator[tuple[_Item, float]]:
    """Each item with the seconds it was waited for."""
    started = time.perf_counter()
    for item in items:
        yield item, time.perf_counter() - started
        started = time.perf_counter()
