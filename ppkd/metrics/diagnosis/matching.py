"""Which detection found which box, as COCO's evaluation decides at one overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppkd.metrics.diagnosis.boxes import Boxes, Evaluated
from ppkd.metrics.precision import overlaps

FOUND, NEAR = 0.5, 0.1
"""Least overlap of a detection that found a box, and of one that is anywhere near it: TIDE's t_f and t_b."""


@dataclass(frozen=True)
class Pairs:
    """Detections and boxes that overlap by :data:`NEAR` or more, by detection, the largest overlap first.

    Attributes:
        found: row of the detection, int64 (p,).
        truth: row of the box to be found, int64 (p,).
        overlap: their intersection over union, float64 (p,).
    """

    found: np.ndarray
    truth: np.ndarray
    overlap: np.ndarray

    def where(self, kept: np.ndarray) -> Pairs:
        """Those at ``kept``, bool (p,)."""
        return Pairs(self.found[kept], self.truth[kept], self.overlap[kept])


@dataclass(frozen=True)
class Matches:
    """What became of every detection.

    Attributes:
        evaluated: what was matched.
        pairs: of all classes.
        same: which pairs are of one class, bool (p,).
        truth: row of the box that each detection found, -1 for none, int64 (k,).
        counted: false for detections of a crowd or a difficult box, which count neither as right nor as wrong.
    """

    evaluated: Evaluated
    pairs: Pairs
    same: np.ndarray
    truth: np.ndarray
    counted: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Which detections found a box, bool (k,)."""
        return self.truth >= 0


def matches(evaluated: Evaluated) -> Matches:
    """Match within the classes: the better detection chooses first, the box that it overlaps most of those left."""
    found, truth = evaluated.found, evaluated.truth
    pairs = near_pairs(found, truth)
    same = found.label[pairs.found] == truth.label[pairs.truth]
    taken = claim(pairs.where(same & (pairs.overlap >= FOUND)), len(found))
    return Matches(evaluated, pairs, same, taken, (taken >= 0) | ~_over_ignored(evaluated))


def near_pairs(found: Boxes, truth: Boxes) -> Pairs:
    """The pairs of the same image, whatever their classes."""
    parts = [np.zeros((0, 3))]
    own, boxes = _by_image(found), _by_image(truth)
    for image in own.keys() & boxes.keys():
        overlap = overlaps(found.box[own[image]], truth.box[boxes[image]], pixels=False)
        row, column = np.nonzero(overlap >= NEAR)
        parts.append(np.column_stack([own[image][row], boxes[image][column], overlap[row, column]]))
    flat = np.concatenate(parts)
    flat = flat[np.lexsort((-flat[:, 2], flat[:, 0]))]
    return Pairs(flat[:, 0].astype(np.int64), flat[:, 1].astype(np.int64), flat[:, 2])


def claim(pairs: Pairs, count: int) -> np.ndarray:
    """The row of the box that each of ``count`` detections, the best first, gets; -1 for none.

    In every round each detection asks for its next box, and a box stays with the best one that ever asked. That ends
    where serving the detections one after the other would, because all boxes prefer the same detections.
    """
    taken = np.full(count, -1, np.int64)
    while len(pairs.found):
        asking, first = np.unique(pairs.found, return_index=True)
        asked = pairs.truth[first]
        _, winners = np.unique(asked, return_index=True)
        lost = np.ones(len(first), bool)
        lost[winners] = False
        if not lost.any():
            taken[asking] = asked
            break
        kept = np.ones(len(pairs.found), bool)
        kept[first[lost]] = False
        pairs = pairs.where(kept)
    return taken


def _by_image(boxes: Boxes) -> dict[int, np.ndarray]:
    """The rows of each image that has any, in their order."""
    order = np.argsort(boxes.image, kind="stable")
    images, starts = np.unique(boxes.image[order], return_index=True)
    return dict(zip(images.tolist(), np.split(order, starts[1:]), strict=False))


def _over_ignored(evaluated: Evaluated) -> np.ndarray:
    """Which detections lie by half of their own area or more in an ignored box of their class, bool (k,)."""
    found, ignored = evaluated.found, evaluated.ignored
    over = np.zeros(len(found), bool)
    own, boxes = _by_image(found), _by_image(ignored)
    for image in own.keys() & boxes.keys():
        first, second = found.box[own[image]][:, None], ignored.box[boxes[image]][None]
        low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
        inner = (high - low).clip(min=0).prod(axis=2)
        area = (first[..., 2:] - first[..., :2]).clip(min=0).prod(axis=2)
        same = found.label[own[image]][:, None] == ignored.label[boxes[image]][None]
        over[own[image]] = (same & (inner >= FOUND * area) & (area > 0)).any(axis=1)
    return over
