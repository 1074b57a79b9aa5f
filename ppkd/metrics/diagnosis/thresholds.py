"""Precision, recall and F1 of the detections above a score, and the score with the best F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppkd.metrics.diagnosis.matching import Matches

GRID = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Thresholds:
    """At each of the lowest scores ``GRID``, float64 (101,) each; 0 where nothing is left or nothing is to be found.

    Precision without any detection is 0, so that the best threshold leaves some.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def best(self) -> float:
        """The lowest score with the largest F1."""
        return float(GRID[self.f1.argmax()])

    def at(self, score: float) -> tuple[float, float, float]:
        """Precision, recall and F1 at ``score``, a number of the grid."""
        index = int(np.abs(GRID - score).argmin())
        return float(self.precision[index]), float(self.recall[index]), float(self.f1[index])


def thresholds(found: Matches, label: int | None = None) -> Thresholds:
    """Of the class ``label``, or of all classes together."""
    of_class = np.ones(len(found.right), bool) if label is None else found.evaluated.found.label == label
    positives = found.evaluated.positives
    wanted = int(positives.sum() if label is None else positives[label])
    kept = of_class & found.counted
    true = _above(found.evaluated.scores[kept & found.right])
    all_of_them = _above(found.evaluated.scores[kept])
    precision = true / np.maximum(all_of_them, 1)
    recall = true / max(wanted, 1)
    f1 = 2 * true / np.maximum(all_of_them + wanted, 1)
    return Thresholds(precision, recall, f1)


def _above(scores: np.ndarray) -> np.ndarray:
    """How many of ``scores``, falling, are at least each number of the grid."""
    # A score of 0.3 in float32 is a little above 0.3.
    return len(scores) - np.searchsorted(scores[::-1], GRID - 1e-6)
