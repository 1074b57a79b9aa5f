"""The gradients of an update, from one batch or from several that stand for a large one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any, TypeVar

import paddle
from paddle import Tensor

from ppkd.engine.precision import Precision
from ppkd.engine.protocols import Trainable
from ppkd.models.losses.normaliser import NormaliserBook, mean_terms
from ppkd.models.modes import statistics_kept
from ppkd.structures import Batch

_Item = TypeVar("_Item")

Watch = Callable[[Batch, Mapping[str, Tensor]], None]


class Gradients:
    """Adds the gradients of an update's batches to those of the parameters.

    Several batches give the gradients of one batch of all their images (up to rounding), except through batch
    statistics, which are each batch's own. Losses that divide by a number which depends on all images, such as the
    number of positive anchors, need it before the first gradient: then every batch first goes through the model once
    without gradients.

    Args:
        model: what is trained.
        network: ``model``, or what wraps it for several processes.
        precision: number formats.
    """

    def __init__(self, model: Trainable, network: Any, precision: Precision) -> None:
        self._model = model
        self._network = network
        self._precision = precision
        self._divides = True

    def __call__(self, batches: Sequence[Batch], watch: Watch) -> dict[str, Tensor]:
        """The mean of every loss term over ``batches``; ``watch`` is told each batch and its losses."""
        if len(batches) == 1:
            return self._add(batches[0], 1, watch)
        book = self._normalisers(batches)
        parts = []
        for number, batch in enumerate(batches, start=1):
            with self._exchange(number == len(batches)), book.given():
                parts.append(self._add(batch, len(batches), watch))
        return mean_terms(parts)

    def _add(self, batch: Batch, count: int, watch: Watch) -> dict[str, Tensor]:
        with self._precision.casting():
            terms = self._network(batch)
        self._precision.backward(terms["loss"] if count == 1 else terms["loss"] / count)
        watch(batch, terms)
        return terms

    def _exchange(self, last: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients once per update, after the last batch."""
        return nullcontext() if last or self._network is self._model else self._network.no_sync()

    @paddle.no_grad()
    def _normalisers(self, batches: Sequence[Batch]) -> NormaliserBook:
        """What the losses of ``batches`` divide by; random streams and moving statistics are as before afterwards."""
        book = NormaliserBook(len(batches))
        if not self._divides:
            return book
        streams = paddle.get_rng_state()
        with statistics_kept(self._model):
            for batch in batches:
                with book.counting(), self._precision.casting():
                    self._model(batch)
                if book.empty:
                    self._divides = False
                    break
        paddle.set_rng_state(streams)
        book.close()
        return book


def grouped(items: Iterable[_Item], count: int) -> Iterator[list[_Item]]:
    """``count`` items at a time."""
    source = iter(items)
    while group := list(islice(source, count)):
        yield group
