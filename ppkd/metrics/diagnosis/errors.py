"""Kinds of error and what each costs, as TIDE defines them (Bolya et al. 2020, arXiv:2008.08115)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ppkd.metrics.diagnosis.matching import FOUND, Matches
from ppkd.metrics.diagnosis.precision import average_precision


class Kind(IntEnum):
    """What is wrong with a detection; :attr:`MISSED` is of boxes that no detection of another kind explains."""

    RIGHT = 0
    CLASS = 1
    PLACE = 2
    BOTH = 3
    DUPLICATE = 4
    BACKGROUND = 5
    MISSED = 6


@dataclass(frozen=True)
class ErrorCost:
    """One kind: how many there are, and how much AP50, in 0..1, is gained when they alone are mended."""

    kind: Kind
    count: int
    cost: float


def error_costs(found: Matches) -> list[ErrorCost]:
    """The six kinds in the order of :class:`Kind`.

    A wrong class or place is mended unless its box is found already or a better detection is mended to it, then it is
    removed; the other wrong detections are removed; missed boxes are no longer to be found.
    """
    kind, target = kinds(found)
    missed = _missed(found, kind, target)
    label, right, positives = found.evaluated.found.label, found.right, found.evaluated.positives
    before = average_precision(label[found.counted], right[found.counted], positives)
    costs = []
    for one in (Kind.CLASS, Kind.PLACE, Kind.BOTH, Kind.DUPLICATE, Kind.BACKGROUND):
        wrong = (kind == one) & found.counted
        mended = _first_of_each(wrong & ~np.isin(target, found.truth[right]), target) if one <= Kind.PLACE else None
        kept, changed, better = found.counted & ~wrong, label, right
        if mended is not None and mended.any():
            kept, better, changed = kept | mended, right | mended, label.copy()
            changed[mended] = found.evaluated.truth.label[target[mended]]
        after = average_precision(changed[kept], better[kept], positives)
        costs.append(ErrorCost(one, int(wrong.sum()), after - before))
    fewer = positives - np.bincount(found.evaluated.truth.label[missed], minlength=len(positives))
    after = average_precision(label[found.counted], right[found.counted], fewer)
    return [*costs, ErrorCost(Kind.MISSED, int(missed.sum()), after - before)]


def kinds(found: Matches) -> tuple[np.ndarray, np.ndarray]:
    """The :class:`Kind` of every detection, int64 (k,), and the box that a wrong class or place is about, -1 for none.

    A detection that overlaps a box of its class too little is misplaced before it is anything else.
    """
    count = len(found.right)
    own, own_box = _best(found, found.same, count)
    other, other_box = _best(found, ~found.same, count)
    conditions = [found.right, (own > 0) & (own < FOUND), other >= FOUND, own >= FOUND, other == 0]
    answers = [Kind.RIGHT, Kind.PLACE, Kind.CLASS, Kind.DUPLICATE, Kind.BACKGROUND]
    kind = np.select(conditions, [int(answer) for answer in answers], int(Kind.BOTH))
    target = np.where(kind == Kind.PLACE, own_box, np.where(kind == Kind.CLASS, other_box, -1))
    return kind, target


def _best(found: Matches, which: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest overlap of each detection among the pairs at ``which``, 0 without any, and its box, -1."""
    pairs = found.pairs.where(which)
    rows, first = np.unique(pairs.found, return_index=True)
    overlap, box = np.zeros(count), np.full(count, -1, np.int64)
    overlap[rows], box[rows] = pairs.overlap[first], pairs.truth[first]
    return overlap, box


def _first_of_each(which: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Of the detections at ``which`` the best one of each ``target``, bool (k,)."""
    rows = np.flatnonzero(which)
    _, first = np.unique(target[rows], return_index=True)
    chosen = np.zeros(len(which), bool)
    chosen[rows[first]] = True
    return chosen


def _missed(found: Matches, kind: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Which boxes were neither found nor are those of a wrong class or place, bool (boxes,)."""
    missed = np.ones(len(found.evaluated.truth), bool)
    missed[found.truth[found.right]] = False
    missed[target[(target >= 0) & found.counted]] = False
    return missed
