"""One change of the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import paddle
from paddle import Tensor

from ppkd.engine.accumulation import Gradients
from ppkd.engine.ema import ModelEMA
from ppkd.engine.non_finite import STOP_AFTER, Guard
from ppkd.engine.position import Position
from ppkd.engine.precision import Precision
from ppkd.engine.protocols import Trainable
from ppkd.structures import Batch


class Update:
    """Everything that an update of ``model`` consists of: gradients, a check that they are finite, step, average.

    Args:
        model: a detector or a distillation model.
        optimizer: over the model's trained parameters.
        folder: the run's folder, for batches whose losses or gradients are not finite.
        ema: average of the student's weights, updated after every step.
        precision: number formats; float32 by default.
        network: ``model``, or what wraps it for several processes.
        stop_after: so many steps in a row that are not finite end the run; 1: the first, 0: none.
        describe: names the images of a batch for people; by default by ``im_id``.
    """

    def __init__(
        self,
        model: Trainable,
        optimizer: paddle.optimizer.Optimizer,
        *,
        folder: Path,
        ema: ModelEMA | None = None,
        precision: Precision | None = None,
        network: Any = None,
        stop_after: int = STOP_AFTER,
        describe: Callable[[Batch], Sequence[str]] | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.ema = ema
        self.precision = precision or Precision()
        self._gradients = Gradients(model, model if network is None else network, self.precision)
        self._guard = Guard(model, self.precision, folder=folder, stop_after=stop_after, describe=describe)

    def __call__(self, batches: Sequence[Batch], rate: float, at: Position) -> dict[str, Tensor] | None:
        """One step on the mean loss of ``batches`` at learning rate ``rate``; the loss terms.

        ``None`` when a loss or gradient was not finite: then weights, optimizer, average and moving statistics are as
        before. Raises :class:`TrainingError` when too many steps in a row were like that.
        """
        self.optimizer.set_lr(rate)
        self._guard.begin()
        terms = self._gradients(batches, self._guard.watch)
        admitted = self._guard.admits(at)
        if admitted:
            self.optimizer.step()
            if self.ema is not None:
                self.ema.update()
        self.optimizer.clear_grad()
        return terms if admitted else None

    def rehearse(self, batches: Sequence[Batch]) -> None:
        """Both passes of an update on ``batches`` without the update: no weight changes, no gradients are left."""
        self._gradients(batches, lambda batch, terms: None)
        self.optimizer.clear_grad(set_to_zero=False)

    def casting(self) -> AbstractContextManager[Any]:
        """Where a forward pass runs."""
        return self.precision.casting()

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the student carries what ``.pdparams`` holds: the averaged weights if there is an average."""
        return nullcontext() if self.ema is None else self.ema.applied()
