"""Average precision as COCO computes it, at one overlap and over a whole evaluation."""

from __future__ import annotations

import numpy as np

RECALLS = np.linspace(0, 1, 101)


def recall_precision(right: np.ndarray, positives: int) -> np.ndarray:
    """The precision at each of :data:`RECALLS`, float64 (101,): the best that is reached there or beyond.

    ``right`` says of each detection, the best first, whether it found one of ``positives`` boxes.
    """
    true = np.cumsum(right)
    precision = true / np.arange(1, len(true) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return envelope[np.searchsorted(true / max(positives, 1), RECALLS)]


def average_precision(label: np.ndarray, right: np.ndarray, positives: np.ndarray) -> float:
    """The mean over all classes with ``positives``, int64 (classes,), of the mean precision.

    ``label`` and ``right`` are those of the detections, the best first. 0 where nothing is to be found.
    """
    classes = np.flatnonzero(positives > 0)
    each = [recall_precision(right[label == index], int(positives[index])).mean() for index in classes]
    return float(np.mean(each)) if each else 0.0
