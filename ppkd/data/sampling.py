"""Which images make a batch, and the random streams behind every draw.

Everything is a function of the seed and of a position (epoch, batch, image), so that the number of worker processes
changes nothing and training resumes at any batch without replaying those before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np


class Stream(IntEnum):
    """Independent random streams of one seed."""

    SHUFFLE = 1
    SAMPLE = 2
    BATCH = 3
    UNLABELLED_SHUFFLE = 4
    UNLABELLED_SAMPLE = 5


def generator(seed: int, stream: Stream, *position: int) -> np.random.Generator:
    """The generator of a position in a stream; different positions and seeds give independent numbers."""
    return np.random.default_rng((seed, int(stream), *position))


@dataclass(frozen=True)
class Draw:
    """One image to read: ``index`` in its data set, ``position`` in the epoch (labelled) or in the whole run."""

    index: int
    position: int


@dataclass(frozen=True)
class BatchPlan:
    """The images of one batch; unlabelled ones come last."""

    epoch: int
    batch: int
    labelled: tuple[Draw, ...]
    unlabelled: tuple[Draw, ...] = ()


@dataclass(frozen=True)
class Sampler:
    """Plans the batches of an epoch over ``size`` images for process ``rank`` of ``ranks``.

    Processes take consecutive slices of the same order. Without ``drop_last``, several processes repeat images of the
    epoch's beginning at its end, so that all have equally many batches. ``unlabelled_batch_size`` images of the
    ``unlabelled_size`` others join every batch; they go round in passes of their own, each shuffled anew.
    """

    size: int
    batch_size: int
    seed: int = 0
    shuffle: bool = False
    drop_last: bool = False
    rank: int = 0
    ranks: int = 1
    unlabelled_size: int = 0
    unlabelled_batch_size: int = 0

    def __len__(self) -> int:
        whole, rest = divmod(self.size, self.batch_size * self.ranks)
        return whole + (1 if rest and not self.drop_last else 0)

    def plans(self, epoch: int, start: int = 0) -> Iterator[BatchPlan]:
        """The batches of ``epoch`` from number ``start`` on."""
        order = np.arange(self.size)
        if self.shuffle:
            order = generator(self.seed, Stream.SHUFFLE, epoch).permutation(self.size)
        share = self.batch_size * self.ranks
        if self.ranks > 1:
            order = np.resize(order, len(self) * share)
        for batch in range(start, len(self)):
            first = batch * share + self.rank * self.batch_size
            chosen = enumerate(order[first : first + self.batch_size].tolist(), start=first)
            labelled = tuple(Draw(index, position) for position, index in chosen)
            yield BatchPlan(epoch, batch, labelled, self._unlabelled(epoch, batch))

    def _unlabelled(self, epoch: int, batch: int) -> tuple[Draw, ...]:
        step = (epoch * len(self) + batch) * self.ranks + self.rank
        first = step * self.unlabelled_batch_size
        return tuple(self._in_passes(first + i) for i in range(self.unlabelled_batch_size))

    def _in_passes(self, position: int) -> Draw:
        number, place = divmod(position, self.unlabelled_size)
        return Draw(int(_pass_order(self.seed, number, self.unlabelled_size)[place]), position)


@lru_cache(maxsize=2)
def _pass_order(seed: int, number: int, size: int) -> np.ndarray:
    """The order of pass ``number`` over ``size`` unlabelled images; neighbouring batches ask for the same one."""
    return generator(seed, Stream.UNLABELLED_SHUFFLE, number).permutation(size)
