"""Labels of channels: one number for every element of a tensor, equal where elements can only be removed together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
FIXED = 0
"""The label of what cannot be removed."""


class Ties:
    """Labels that were found to belong together (a union-find structure); :data:`FIXED` is the smallest of all."""

    def __init__(self) -> None:
        self._parent = [FIXED]

    def new(self, count: int) -> Labels:
        """As many labels that nothing has yet."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def tie(self, one: Labels, other: Labels) -> None:
        """Declare that labels at the same place of two arrays of one shape belong together."""
        pairs = np.stack([one.ravel(), other.ravel()])
        for first, second in np.unique(pairs[:, pairs[0] != pairs[1]], axis=1).T:
            low, high = sorted((self._root(int(first)), self._root(int(second))))
            self._parent[high] = low

    def fix(self, labels: Labels | None) -> None:
        """Declare that nothing of ``labels`` can be removed."""
        if labels is not None:
            self.tie(labels, np.full_like(labels, FIXED))

    def roots(self, labels: Labels) -> Labels:
        """Equal numbers for what belongs together, :data:`FIXED` for what cannot be removed."""
        known = {label: self._root(int(label)) for label in np.unique(labels)}
        return np.vectorize(known.__getitem__, otypes=[np.int64])(labels)

    def _root(self, label: int) -> int:
        while self._parent[label] != label:
            self._parent[label] = self._parent[self._parent[label]]
            label = self._parent[label]
        return label


def along(labels: Labels, axis: int) -> Labels | None:
    """The labels [n] of the places along ``axis``; ``None`` where they also vary along another one."""
    line = np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)
    return line[:, 0] if (line == line[:, :1]).all() else None


def varies(labels: Labels, axis: int) -> bool:
    """Whether ``labels`` differ along ``axis``."""
    return bool((labels != labels.take([0], axis=axis)).any())


def spread(line: Labels, axis: int, shape: tuple[int, ...]) -> Labels:
    """Labels of ``shape`` that are ``line`` along ``axis``."""
    wide = [1] * len(shape)
    wide[axis] = len(line)
    return np.broadcast_to(line.reshape(wide), shape)
