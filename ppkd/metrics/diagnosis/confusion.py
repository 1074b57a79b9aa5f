"""Which class was taken for which."""

from __future__ import annotations

import numpy as np

from ppkd.metrics.diagnosis.matching import FOUND, Matches, claim


def confusion(found: Matches, score: float) -> np.ndarray:
    """Counts int64 (classes + 1, classes + 1): the true class by row, the detected one by column.

    Detections of at least ``score`` are matched whatever their class. The last row is of detections where nothing is,
    the last column of boxes that nothing found.
    """
    evaluated = found.evaluated
    classes, truth = evaluated.classes, evaluated.truth
    shown = found.counted & (evaluated.scores >= score)
    pairs = found.pairs
    taken = claim(pairs.where((pairs.overlap >= FOUND) & shown[pairs.found]), len(shown))
    hit = taken >= 0
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    np.add.at(counts, (truth.label[taken[hit]], evaluated.found.label[hit]), 1)
    np.add.at(counts[classes], evaluated.found.label[shown & ~hit], 1)
    missed = np.ones(len(truth), bool)
    missed[taken[hit]] = False
    np.add.at(counts[:, classes], truth.label[missed], 1)
    return counts
