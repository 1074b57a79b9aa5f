"""Matching detections to ground truth, and average precision, as the PASCAL VOC devkit defines them.

M. Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Outcome(IntEnum):
    """What a detection turned out to be."""

    IGNORED = -1
    FALSE = 0
    TRUE = 1


@dataclass(frozen=True)
class Boxes:
    """Boxes of all images in a row: corners (n, 4) and, for each, the number of its image and class together.

    ``groups`` int64 (n,) is that of its image times the number of classes, plus its class.
    """

    corners: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, corners: Sequence[np.ndarray], labels: Sequence[np.ndarray], classes: int) -> Boxes:
        """The boxes (k, 4) and classes (k,) of several images."""
        image = np.repeat(np.arange(len(labels)), [len(own) for own in labels])
        label = np.concatenate([np.zeros(0, np.int64), *labels])
        return cls(np.concatenate([np.zeros((0, 4), np.float32), *corners]), image * classes + label)


def best_matches(found: Boxes, truth: Boxes, pixels: bool) -> tuple[np.ndarray, np.ndarray]:
    """For each detection the place of the box of its image and class that it overlaps most, and by how much.

    The first of equal ones; without any box, place -1 and overlap 0. ``pixels`` as in :func:`paired_overlaps`.
    """
    order = np.argsort(truth.groups, kind="stable")
    sorted_groups = truth.groups[order]
    first = np.searchsorted(sorted_groups, found.groups, side="left")
    counts = np.searchsorted(sorted_groups, found.groups, side="right") - first
    best, overlap = np.full(len(counts), -1), np.zeros(len(counts))
    if not counts.any():
        return best, overlap
    # All pairs of a detection and a box of its group, detection by detection.
    starts = np.cumsum(counts) - counts
    detection = np.repeat(np.arange(len(counts)), counts)
    place = order[np.arange(len(detection)) - starts[detection] + first[detection]]
    shares = paired_overlaps(found.corners[detection], truth.corners[place].astype(np.float64), pixels)
    some = np.flatnonzero(counts)
    overlap[some] = np.maximum.reduceat(shares, starts[some])
    largest = np.flatnonzero(shares == overlap[detection])
    with_largest, at = np.unique(detection[largest], return_index=True)
    best[with_largest] = place[largest[at]]
    return best, overlap


def overlaps(first: np.ndarray, second: np.ndarray, pixels: bool) -> np.ndarray:
    """Intersection over union float64 (n, m) of boxes (n, 4) and (m, 4), see :func:`paired_overlaps`."""
    return paired_overlaps(first[:, None], second[None, :], pixels)


def paired_overlaps(first: np.ndarray, second: np.ndarray, pixels: bool) -> np.ndarray:
    """Intersection over union float64 (...) of boxes (..., 4), x1, y1, x2, y2, one with the other.

    With ``pixels`` the corners are pixels that belong to the box, so that its width is x2 - x1 + 1, as in the devkit;
    boxes that merely touch do not overlap.
    """
    extra = float(pixels)
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    # Boxes that share only border pixels do not overlap in PaddleDetection; the devkit would count those pixels.
    inner = np.where((high > low).all(axis=-1), (high - low + extra).prod(axis=-1), 0.0)
    area_first, area_second = (np.prod(boxes[..., 2:] - boxes[..., :2] + extra, axis=-1) for boxes in (first, second))
    union = area_first + area_second - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)


def match(best: np.ndarray, overlap: np.ndarray, difficult: np.ndarray, threshold: float) -> np.ndarray:
    """An :class:`Outcome` for each detection, int64 (n,); those of one image are sorted by descending score.

    Args:
        best: the place of the box that a detection overlaps most, int (n,), -1 for none.
        overlap: by how much, float64 (n,).
        difficult: bool (m,) of the boxes; a detection whose best box is difficult is ignored.
        threshold: the best box counts when its overlap is greater; its second detection is false.
    """
    # As in the devkit, a detection whose best box is taken is false, even where it overlaps another box enough.
    outcome = np.full(len(best), Outcome.FALSE, np.int64)
    hits = np.flatnonzero((best >= 0) & (overlap > threshold))
    outcome[hits[difficult[best[hits]]]] = Outcome.IGNORED
    candidates = hits[~difficult[best[hits]]]
    _, first = np.unique(best[candidates], return_index=True)
    outcome[candidates[first]] = Outcome.TRUE
    return outcome


def curve(scores: np.ndarray, outcomes: np.ndarray, positives: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision float64 (k,) after each detection that is not ignored, by descending score."""
    order = np.argsort(-scores, kind="stable")
    outcomes = outcomes[order]
    true = np.cumsum(outcomes[outcomes != Outcome.IGNORED])
    return true / max(positives, 1), true / np.arange(1, len(true) + 1)


def eleven_point(recall: np.ndarray, precision: np.ndarray) -> float:
    """VOC 2007's average precision: the mean, over recalls 0, 0.1 ... 1, of the best precision there or beyond."""
    reached = recall[None, :] >= (np.arange(11) / 10)[:, None]
    return float(np.where(reached, precision[None, :], 0.0).max(axis=1, initial=0.0).mean())


def integral(recall: np.ndarray, precision: np.ndarray) -> float:
    """VOC 2010's average precision: the area under the curve whose precision is made monotonically decreasing."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())
