"""Masks of a COCO json file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppkd.data.outlines import NUMBERS, Outlines, read_polygons, read_rle
from ppkd.data.summary import Summary


def read_masks(entries: Sequence[Mapping[str, Any]], size: tuple[int, int], name: str, summary: Summary) -> Outlines:
    """The outlines of the annotations of the image ``name`` of ``size`` (height, width; 0 if unknown).

    Unreadable ones and boxes without a mask are counted in ``summary``.
    """
    outlines = []
    for entry in entries:
        edges, whole = _edges(entry.get("segmentation"), size)
        summary.broken_masks += [] if whole else [name]
        summary.maskless += [] if len(edges) else [name]
        outlines.append(edges)
    return Outlines.of(outlines)


def _edges(segmentation: object, size: tuple[int, int]) -> tuple[np.ndarray, bool]:
    """The edges of a mask, none where there is none to read, and whether all of it could be read."""
    nothing = np.zeros((0, NUMBERS), np.float32)
    if not segmentation:
        return nothing, True
    if isinstance(segmentation, list):
        return read_polygons(segmentation)
    edges = read_rle(segmentation, size) if isinstance(segmentation, Mapping) else None
    return (nothing, False) if edges is None else (edges, True)
