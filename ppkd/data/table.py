"""Annotations of a whole data set in a few arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from ppkd.data.annotation import Annotation
from ppkd.data.outlines import Outlines

_ROWS = ("gt_bbox", "gt_class", "is_crowd", "difficult")


class AnnotationTable(Sequence[Annotation]):
    """A read-only sequence of annotations that holds no Python object per image.

    Reading processes are forked, and a process that merely reads a Python object writes its reference count: with
    an object per image every one of them would end with a copy of the whole list. Arrays stay shared. An
    :class:`Annotation` is made at each access; its arrays are views.
    """

    def __init__(self, annotations: Sequence[Annotation]) -> None:
        names = [os.fspath(annotation.file).encode("utf-8", "surrogatepass") for annotation in annotations]
        self._names = np.frombuffer(b"".join(names), np.uint8)
        self._name_ends = _ends(list(map(len, names)))
        self._row_ends = _ends([len(annotation.gt_class) for annotation in annotations])
        self._rows = {key: _joined([getattr(annotation, key) for annotation in annotations]) for key in _ROWS}
        self._edges, self._edge_ends = _outlines([a.gt_poly for a in annotations])
        self._facts = np.array([(a.im_id, a.height, a.width, a.labelled) for a in annotations], np.int64).reshape(-1, 4)

    def __len__(self) -> int:
        return len(self._facts)

    @overload
    def __getitem__(self, index: int) -> Annotation: ...
    @overload
    def __getitem__(self, index: slice) -> list[Annotation]: ...
    def __getitem__(self, index: int | slice) -> Annotation | list[Annotation]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        im_id, height, width, labelled = self._facts[place].tolist()
        name = self._names[slice(*self._name_ends[place : place + 2])].tobytes()
        rows = slice(*self._row_ends[place : place + 2])
        boxes = {key: values[rows] for key, values in self._rows.items()}
        file = Path(name.decode("utf-8", "surrogatepass"))
        return Annotation(file, im_id, height, width, labelled=bool(labelled), gt_poly=self._masks(rows), **boxes)

    def _masks(self, rows: slice) -> Outlines | None:
        if self._edges is None:
            return None
        ends = self._edge_ends[rows.start : rows.stop + 1]
        return Outlines(self._edges[ends[0] : ends[-1]], ends - ends[0])


def _outlines(masks: Sequence[Outlines | None]) -> tuple[np.ndarray | None, np.ndarray]:
    """The edges of all masks, and where those of each begin and the last ones end; None where there are no masks."""
    present = [mask for mask in masks if mask is not None]
    if not present or len(present) < len(masks):
        return None, _ends([])
    return _joined([mask.edges for mask in present]), _ends([*np.concatenate([mask.counts for mask in present])])


def _ends(lengths: Sequence[int]) -> np.ndarray:
    """Where each of consecutive pieces begins, and where the last one ends, int64 (n + 1,)."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    joined = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    joined.flags.writeable = False
    return joined
