"""Matching detections to ground truth, and average precision, as the PASCAL VOC devkit defines them.

M. Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Outcome(IntEnum):
    """What a detection turned out to be."""

    IGNORED = -1
    FALSE = 0
    TRUE = 1


def overlaps(first: np.ndarray, second: np.ndarray, pixels: bool) -> np.ndarray:
    """Intersection over union float64 (n, m) of boxes (n, 4) and (m, 4), x1, y1, x2, y2.

    With ``pixels`` the corners are pixels that belong to the box, so that its width is x2 - x1 + 1, as in the devkit;
    boxes that merely touch do not overlap.
    """
    extra = float(pixels)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    # Boxes that share only border pixels do not overlap in PaddleDetection; the devkit would count those pixels.
    inner = np.where((high > low).all(axis=2), (high - low + extra).prod(axis=2), 0.0)
    area_first, area_second = (np.prod(boxes[:, 2:] - boxes[:, :2] + extra, axis=1) for boxes in (first, second))
    union = area_first[:, None] + area_second[None, :] - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)


def match(overlap: np.ndarray, difficult: np.ndarray, threshold: float) -> np.ndarray:
    """An :class:`Outcome` for each detection of one class in one image, int64 (n,).

    Args:
        overlap: (n, m) of detections sorted by descending score with ground-truth boxes.
        difficult: bool (m,); a detection whose best box is difficult is ignored.
        threshold: the best box counts when its overlap is greater; its second detection is false.
    """
    outcome = np.full(len(overlap), Outcome.FALSE, np.int64)
    if not overlap.size:
        return outcome
    # As in the devkit, a detection whose best box is taken is false, even where it overlaps another box enough.
    best = overlap.argmax(axis=1)
    hit = overlap.max(axis=1) > threshold
    outcome[hit & difficult[best]] = Outcome.IGNORED
    candidates = np.flatnonzero(hit & ~difficult[best])
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
