"""What a loss divides by, taken over the whole batch of an update: all processes, all accumulated batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import paddle
from paddle import Tensor

from ppkd.utils import processes

_book: ContextVar[NormaliserBook | None] = ContextVar("book of normalisers", default=None)


def over_batch(local: Tensor, *, least: float = 0.0) -> Tensor:
    """The mean of the scalar ``local`` over the parts of an update's batch, float32, without gradient.

    A part is what one process sees of one accumulated batch. Gradients are averaged over parts, so a sum over a part
    divided by this mean becomes the sum over the whole batch divided by the whole batch's normaliser, which is
    ``least`` at least. Every process must call this equally often.
    """
    book = _book.get()
    mean = processes.mean(local) if book is None else book.next(local)
    return mean.clip(min=least / parts()) if least else mean


def parts() -> int:
    """Of how many parts the batch of the present update consists, see :func:`over_batch`."""
    return (processes.count() if processes.together() else 1) * accumulated()


def accumulated() -> int:
    """Of how many batches of this process the present update consists."""
    book = _book.get()
    return 1 if book is None else book.batches


def sum_over_batch(local: Tensor) -> Tensor:
    """The scalar ``local``, a sum over a part, such that its mean over the parts of an update is the batch's sum.

    That is as many times ``local`` as there are parts; for a single one ``local`` itself.
    """
    count = parts()
    return local if count == 1 else local * float(count)


def norm_over_batch(square: Tensor) -> Tensor:
    """The root of ``square``, a scalar sum of squares over a part, such that its mean over the parts is the root of
    the whole batch's sum, and so is its gradient; the gradient at zero is zero."""
    if parts() == 1:
        return _root(square)
    whole = _root(over_batch(square) * float(parts()))
    share = (square + square.detach()) / (2.0 * paddle.where(whole > 0, whole, paddle.ones_like(whole)))
    return sum_over_batch(share)


def _root(square: Tensor) -> Tensor:
    present = square > 0
    return paddle.where(present, square, paddle.ones_like(square)).sqrt() * present.astype("float32")


class NormaliserBook:
    """The normalisers of the batches that one update accumulates, which must all be known before the first gradient.

    Each of so many ``batches`` goes through its losses inside :meth:`counting`; :meth:`close` takes the means; inside
    :meth:`given` the losses of each batch then divide by these.
    """

    def __init__(self, batches: int) -> None:
        self.batches = batches
        self._rows: list[list[Tensor]] = []
        self._means: list[Tensor] | None = None
        self._place = 0

    def next(self, local: Tensor) -> Tensor:
        """The normaliser of the next loss that divides by one; ``local`` is its value on the present batch."""
        if self._means is None:
            self._rows[-1].append(local.detach().astype("float32"))
            return local.detach()
        self._place += 1
        return self._means[self._place - 1]

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Inside, the normalisers of one batch are recorded."""
        self._rows.append([])
        with self._open():
            yield

    @property
    def empty(self) -> bool:
        """Whether no loss divides by a normaliser: all are means over images."""
        return not any(self._rows)

    def close(self) -> None:
        """Take the means over the batches and the processes, all in one exchange."""
        if not self.empty:
            table = paddle.stack([paddle.stack([value.reshape([]) for value in row]) for row in self._rows])
            self._means = list(processes.mean(table.mean(axis=0)).unbind(axis=0))

    @contextmanager
    def given(self) -> Iterator[None]:
        """Inside, the losses of one batch divide by the means."""
        self._place = 0
        with self._open():
            yield

    @contextmanager
    def _open(self) -> Iterator[None]:
        token = _book.set(self)
        try:
            yield
        finally:
            _book.reset(token)


def mean_terms(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each loss term over the batches of an update, detached."""
    return {name: paddle.add_n([part[name].detach() for part in parts]) / len(parts) for name in parts[0]}
