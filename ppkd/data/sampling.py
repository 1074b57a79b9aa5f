"""Which images make a batch, and the random streams of every draw.

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
    VIEW = 6


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
    """The images of one batch of update ``batch``; unlabelled ones come last."""

    epoch: int
    batch: int
    labelled: tuple[Draw, ...]
    unlabelled: tuple[Draw, ...] = ()


@dataclass(frozen=True)
class Sampler:
    """Plans the batches of an epoch over ``size`` images for process ``rank`` of ``ranks``.

    An update takes ``parts`` batches in every process, all with the update's number; parts and processes take
    consecutive slices of the same order, so an update sees the images that one process with a batch of
    ``batch_size * parts * ranks`` sees. Without ``drop_last``, several of them repeat images of the epoch's beginning
    at its end, so that all are full. ``unlabelled_batch_size`` images of the ``unlabelled_size`` others are appended to
    every batch; they are read in passes of their own, each shuffled anew.

    With ``shard`` (evaluation) processes take whole batches in turn instead, and none is repeated.
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
    parts: int = 1
    shard: bool = False

    def __len__(self) -> int:
        """Updates of an epoch; batches of this process with ``shard``."""
        return len(range(self.rank, self._batches, self.ranks)) if self.shard else self._batches

    @property
    def empty(self) -> bool:
        """Whether the images do not make one batch; a process may have none of several."""
        return self._batches == 0

    @property
    def share(self) -> int:
        """The images of an update."""
        return self.batch_size if self.shard else self.batch_size * self.parts * self.ranks

    @property
    def _batches(self) -> int:
        whole, rest = divmod(self.size, self.share)
        return whole + (1 if rest and not self.drop_last else 0)

    def plans(self, epoch: int, start: int = 0) -> Iterator[BatchPlan]:
        """The batches of ``epoch`` from update ``start`` on."""
        order = np.arange(self.size)
        if self.shuffle:
            order = generator(self.seed, Stream.SHUFFLE, epoch).permutation(self.size)
        if self.share > self.batch_size:
            order = np.resize(order, len(self) * self.share)
        for batch in range(start, len(self)):
            for part in range(self.parts):
                place = self._place(batch, part)
                first = place * self.batch_size
                chosen = enumerate(order[first : first + self.batch_size].tolist(), start=first)
                labelled = tuple(Draw(index, position) for position, index in chosen)
                number = place if self.shard else batch
                yield BatchPlan(epoch, number, labelled, self._unlabelled(epoch * len(self) * self._slices + place))

    @property
    def _slices(self) -> int:
        return self.parts * self.ranks

    def _place(self, batch: int, part: int) -> int:
        """The number of a batch among those of all processes and parts in an epoch."""
        return (batch * self.parts + part) * self.ranks + self.rank

    def _unlabelled(self, place: int) -> tuple[Draw, ...]:
        """The unlabelled images of the batch with the number ``place`` in the run."""
        first = place * self.unlabelled_batch_size
        return tuple(self._in_passes(first + i) for i in range(self.unlabelled_batch_size))

    def _in_passes(self, position: int) -> Draw:
        number, place = divmod(position, self.unlabelled_size)
        return Draw(int(_pass_order(self.seed, number, self.unlabelled_size)[place]), position)


@lru_cache(maxsize=2)
def _pass_order(seed: int, number: int, size: int) -> np.ndarray:
    """The order of pass ``number`` over ``size`` unlabelled images; cached, as neighbouring batches use the same."""
    return generator(seed, Stream.UNLABELLED_SHUFFLE, number).permutation(size)
