"""The training loop: one step function, everything else is hooks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import paddle

from ppkd.engine.accumulation import Gradients, grouped
from ppkd.engine.checkpoint import Checkpointer, Position
from ppkd.engine.ema import ModelEMA
from ppkd.engine.hooks.base import Hook
from ppkd.engine.loss_window import LossWindow
from ppkd.engine.non_finite import Guard
from ppkd.engine.precision import Precision
from ppkd.engine.protocols import BatchLoader, TracksProgress, TrainableModel
from ppkd.engine.random_state import batches_apart
from ppkd.engine.schedules import Schedule
from ppkd.structures import Batch

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Step:
    """One finished update: ``batch`` of ``epoch`` and ``number`` over the whole run, all counted from 0; seconds.

    ``images`` are those of this process.
    """

    epoch: int
    batch: int
    number: int
    learning_rate: float
    images: int
    data_cost: float
    batch_cost: float


class Trainer:
    """Trains ``model`` for ``epochs`` epochs.

    Args:
        model: a detector or a distillation model.
        optimizer: over the model's trained parameters.
        schedule: learning rate by step.
        loader: batches; its position is set at the start of every epoch.
        epochs: how many epochs the whole run has, those before a resume included.
        checkpointer: writes and reads checkpoints.
        hooks: called in this order at each event.
        ema: average of the student's weights, updated after every step.
        precision: number formats.
        guard: decides which steps are taken; by default with the usual policy.
        network: ``model``, or what wraps it for several processes.
        accumulate: batches of the loader per update; everything else counts updates.
    """

    def __init__(
        self,
        model: TrainableModel,
        optimizer: paddle.optimizer.Optimizer,
        schedule: Schedule,
        loader: BatchLoader,
        *,
        epochs: int,
        checkpointer: Checkpointer,
        hooks: Sequence[Hook] = (),
        ema: ModelEMA | None = None,
        precision: Precision | None = None,
        guard: Guard | None = None,
        network: Any = None,
        accumulate: int = 1,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.loader = loader
        self.epochs = epochs
        self.position = Position()
        self.losses = LossWindow()
        self.figures: dict[str, float] = {}
        self._checkpointer = checkpointer
        self._hooks = tuple(hooks)
        self._ema = ema
        self._accumulate = accumulate
        self._saved: list[str] = []
        self._precision = precision or Precision()
        self._gradients = Gradients(model, model if network is None else network, self._precision)
        self._guard = guard or Guard(model, self._precision, folder=checkpointer.folder)

    def train(self) -> None:
        """Run the epochs from the present position on.

        Raises :class:`TrainingError` when too many steps in a row were not finite and :class:`Interrupted` after a
        signal.
        """
        try:
            self._notify("before_train")
            while self.position.epoch < self.epochs:
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
        self.losses.read()
        self._end_epoch(epoch)

    def run_step(self, batches: Sequence[Batch], rate: float) -> None:
        """Losses and gradients of ``batches``, one update at learning rate ``rate`` if all of them are finite."""
        at = self.position
        self.optimizer.set_lr(rate)
        if isinstance(self.model, TracksProgress):
            self.model.set_progress(at.epoch + at.batch / len(self.loader))
        self._guard.begin()
        terms = self._gradients(batches, self._guard.watch)
        if self._guard.admits(at):
            self.optimizer.step()
            if self._ema is not None:
                self._ema.update()
            self.losses.add(terms)
        self.optimizer.clear_grad()
        at.advance()

    def save(self, name: str) -> Path:
        """Write a checkpoint; raises :class:`TrainingError`, before a file is touched, if a weight is not finite."""
        self.losses.read()
        self._saved.append(name)
        return self._checkpointer.save(name, self.position, self.losses.state())

    def resume(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Continue from the checkpoint that ``path`` means; ``force``: though teacher or settings have changed."""
        self.position, losses = self._checkpointer.restore(path, force=force)
        self.losses.restore(losses)

    def casting(self) -> AbstractContextManager[Any]:
        """Where a forward pass runs."""
        return self._precision.casting()

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the student carries what ``.pdparams`` holds: the averaged weights if there is an average."""
        return nullcontext() if self._ema is None else self._ema.applied()

    def _begin_epoch(self, epoch: int) -> None:
        if self.position.batch == 0:
            self.losses.start_epoch()
        self.figures = {}
        self.loader.start(epoch, self.position.batch)
        self.model.train()
        self._notify("before_epoch", epoch)

    def _end_epoch(self, epoch: int) -> None:
        """Snapshot, evaluation and so on, from checkpoints of which they would all be done again."""
        self._saved.clear()
        self._notify("after_epoch", epoch)
        self.position.next_epoch()
        for name in dict.fromkeys(self._saved):
            self._checkpointer.save_states(name, self.position, self.losses.state())
        self._notify("epoch_done", epoch)

    def _notify(self, event: str, *facts: Any) -> None:
        for hook in self._hooks:
            getattr(hook, event)(self, *facts)


def _timed(items: Iterable[_Item]) -> Iterator[tuple[_Item, float]]:
    """Each item with the seconds it was waited for."""
    started = time.perf_counter()
    for item in items:
        yield item, time.perf_counter() - started
        started = time.perf_counter()
