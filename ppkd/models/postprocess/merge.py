"""Detections of several slices or views of one picture made those of the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Indices = NDArray[np.intp]
Method = Literal["nms", "nmm", "concat"]
Overlap = Literal["ios", "iou"]


def merge(rows: Rows, method: Method, *, threshold: float, overlap: Overlap) -> Rows:
    """What is left of ``rows`` (k, 6) = class, score, x1, y1, x2, y2, class by class, highest score first.

    ``nms`` drops a box that overlaps a better one of its class by at least ``threshold``. ``nmm`` joins it with that
    one: the box around both, the better one's score (greedy non-maximum merging of SAHI, arXiv:2202.06934).
    ``concat`` keeps all rows as they are. ``overlap`` is intersection over union (``iou``), or over the smaller of
    both boxes (``ios``), which finds the part of an object that a slice's border has cut off.
    """
    if method == "concat" or not len(rows):
        return rows
    settle = _first if method == "nms" else _joined
    classes = [rows[rows[:, 0] == number] for number in np.unique(rows[:, 0])]
    return np.stack([settle(found[group]) for found in classes for group in _groups(found, threshold, overlap)])


def _first(group: Rows) -> Rows:
    return group[0]


def _joined(group: Rows) -> Rows:
    return np.concatenate([group[0, :2], group[:, 2:4].min(axis=0), group[:, 4:6].max(axis=0)])


def _groups(rows: Rows, threshold: float, overlap: Overlap) -> Iterator[Indices]:
    """The rows of each box that stays: its own, then those that overlap it by at least ``threshold``."""
    share = OVERLAPS[overlap]
    order = np.argsort(-rows[:, 1], kind="stable")
    while len(order):
        best, others = order[:1], order[1:]
        near = share(rows[best, 2:], rows[others, 2:]) >= threshold
        yield np.concatenate([best, others[near]])
        order = others[~near]


def _areas(boxes: Rows) -> Rows:
    # PaddleDetection counts the pixels of both ends here, so that no proper box has less than one.
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2] + 1, 0, None).prod(axis=1))


def _intersections(one: Rows, boxes: Rows) -> Rows:
    return _areas(np.hstack([np.maximum(one[:, :2], boxes[:, :2]), np.minimum(one[:, 2:], boxes[:, 2:])]))


def intersection_over_union(one: Rows, boxes: Rows) -> Rows:
    """(k,) of a box (1, 4) and ``boxes`` (k, 4), their ends counted as pixels."""
    shared = _intersections(one, boxes)
    return shared / np.maximum(_areas(one) + _areas(boxes) - shared, 1)


def intersection_over_smaller(one: Rows, boxes: Rows) -> Rows:
    """(k,) of a box (1, 4) and ``boxes`` (k, 4), their ends counted as pixels."""
    return _intersections(one, boxes) / np.maximum(np.minimum(_areas(one), _areas(boxes)), 1)


OVERLAPS: dict[Overlap, Callable[[Rows, Rows], Rows]] = {
    "iou": intersection_over_union,
    "ios": intersection_over_smaller,
}
