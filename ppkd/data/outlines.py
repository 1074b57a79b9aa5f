"""Outlines of objects, from which masks are made where they are needed: edges, which every transform moves exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

NUMBERS = 5
"""Of an edge: x1, y1, x2, y2 in pixels and the layer of the object that it bounds."""
LEAST = 6
"""The numbers of the smallest polygon: three points."""
MOST_PIXELS = 1 << 28
"""Of a mask whose image's size is unknown."""


@dataclass(frozen=True)
class Outlines:
    """The outlines of k objects: ``edges`` float32 (E, 5) object by object, ``ends`` int64 (k + 1,) where each begins.

    What has an odd number of a layer's edges above it lies inside of that layer; an object is the union of its layers,
    each of which has polygons that do not meet. One without edges has no mask. The edges of an object are in the order
    of their layers.
    """

    edges: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, objects: Sequence[np.ndarray]) -> Self:
        """From the edges (E_i, 5) of each object."""
        ends = np.cumsum([0, *map(len, objects)], dtype=np.int64)
        return cls(np.concatenate([np.zeros((0, NUMBERS), np.float32), *objects]), ends)

    def __len__(self) -> int:
        return len(self.ends) - 1

    @property
    def counts(self) -> np.ndarray:
        """The number of edges of every object, int64 (k,)."""
        return np.diff(self.ends)

    def take(self, index: np.ndarray) -> Outlines:
        """The outlines of the objects of ``index``, bool (k,) or integer rows."""
        rows = np.arange(len(self))[index].tolist()
        return Outlines.of([self.edges[self.ends[row] : self.ends[row + 1]] for row in rows])

    def padded(self) -> np.ndarray:
        """Float32 (k, L, S, 4): the edges of each layer, with zeros behind, edges without length.

        L are the most layers of an object and S the most edges of a layer, 1 at least.
        """
        layer = self.edges[:, 4].astype(np.int64)
        layers = int(layer.max(initial=0)) + 1
        group = np.repeat(np.arange(len(self)), self.counts) * layers + layer
        counts = np.bincount(group, minlength=len(self) * layers)
        block = np.zeros((len(self) * layers, int(counts.max(initial=1)), 4), np.float32)
        block[np.arange(block.shape[1]) < counts[:, None]] = self.edges[:, :4]
        return block.reshape(len(self), layers, block.shape[1], 4)


def aligned(blocks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Padded edges (k_i, L_i, S_i, 4) as (k_i, L, S, 4), L the largest of the L_i and S of the S_i."""
    layers, most = (max(block.shape[axis] for block in blocks) for axis in (1, 2))
    spare = [(layers - block.shape[1], most - block.shape[2]) for block in blocks]
    return [
        np.pad(block, ((0, 0), (0, below), (0, behind), (0, 0)))
        for block, (below, behind) in zip(blocks, spare, strict=True)
    ]


def nothing(count: int) -> np.ndarray:
    """The padded edges of so many objects without masks."""
    return np.zeros((count, 1, 1, 4), np.float32)


def read_polygons(polygons: Sequence[Any]) -> tuple[np.ndarray, bool]:
    """Edges float32 (E, 5) of COCO's polygons [x, y, x, y, ...], and whether all of them were whole.

    Those with fewer than three points, with half a point or with something that is no finite number are left out.
    """
    parts = [part for part in map(polygon_points, polygons) if part is not None]
    layers = _layers(parts)
    closed = [_closed(parts[i], layers[i]) for i in sorted(range(len(parts)), key=layers.__getitem__)]
    return np.concatenate([np.zeros((0, NUMBERS), np.float32), *closed]), 0 < len(parts) == len(polygons)


def _layers(parts: Sequence[np.ndarray]) -> list[int]:
    """The first layer for each polygon (n, 2) in which no other is near it."""
    layers: list[int] = []
    corners = [(part.min(axis=0), part.max(axis=0)) for part in parts]
    for low, high in corners:
        near = [bool((left <= high).all() and (low <= right).all()) for left, right in corners[: len(layers)]]
        taken = {layer for layer, meets in zip(layers, near, strict=True) if meets}
        layers.append(next(layer for layer in range(len(parts)) if layer not in taken))
    return layers


def polygon_points(polygon: Any) -> np.ndarray | None:
    """Points float32 (n, 2) of COCO's polygon [x, y, x, y, ...]; None for one that is broken as above."""
    try:
        numbers = np.array(polygon, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if numbers.ndim != 1 or len(numbers) < LEAST or len(numbers) % 2:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        points = numbers.reshape(-1, 2).astype(np.float32)
    return points if np.isfinite(points).all() else None


def _closed(points: np.ndarray, layer: int) -> np.ndarray:
    numbers = np.full((len(points), 1), layer, np.float32)
    return np.concatenate([points, np.roll(points, -1, axis=0), numbers], axis=1)


def read_rle(rle: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray | None:
    """Edges float32 (E, 5) of a run-length encoded mask, compressed or not; None for a damaged one.

    So is one of another ``size`` (height, width) than its image has, where that is known: 0 says that it is not.
    """
    from pycocotools import mask as coco

    stated = rle.get("size")
    if not (isinstance(stated, list) and len(stated) == 2 and all(type(side) is int and side > 0 for side in stated)):
        return None
    if (all(size) and tuple(stated) != size) or stated[0] * stated[1] > MOST_PIXELS:
        return None
    counts = rle.get("counts")
    if isinstance(counts, str) and _is_whole(counts):
        encoded = {"size": stated, "counts": counts.encode("ascii")}
    elif isinstance(counts, list) and all(type(run) is int and run >= 0 for run in counts):
        if sum(counts) != stated[0] * stated[1]:
            return None
        encoded = coco.frPyObjects({"size": stated, "counts": counts}, *stated)
    else:
        return None
    try:
        return of_bitmap(coco.decode(encoded))
    except ValueError:
        return None


def _is_whole(text: str) -> bool:
    """Whether every character holds six bits, and none says that the number goes on behind the last."""
    # COCO's own library reads on behind the end of such a text.
    bits = [ord(character) - 48 for character in text]
    return bool(bits) and all(0 <= value < 64 for value in bits) and not bits[-1] & 32


def of_bitmap(mask: np.ndarray) -> np.ndarray:
    """Edges float32 (E, 5) around the pixels of ``mask`` (H, W): the horizontal ones, which are enough."""
    inside = np.pad(mask.astype(bool), ((1, 1), (1, 1)))
    border = inside[1:] ^ inside[:-1]
    rows, left = np.nonzero(border[:, 1:] & ~border[:, :-1])
    right = np.nonzero(border[:, :-1] & ~border[:, 1:])[1]
    none = np.zeros_like(rows)
    return np.stack([left, rows, right, rows, none], axis=1).astype(np.float32)
