"""How each image went."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppkd.metrics.diagnosis.matching import Matches


@dataclass(frozen=True)
class Tally:
    """Counts of every image at one score, int64 (images,) each."""

    right: np.ndarray
    wrong: np.ndarray
    missed: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """Of each image, float64 (images,); 1 where nothing is to be found and nothing was."""
        errors = self.wrong + self.missed
        return np.where(errors == 0, 1.0, 2 * self.right / np.maximum(2 * self.right + errors, 1))


def tally(found: Matches, score: float) -> Tally:
    """The counts of the detections of at least ``score``."""
    evaluated = found.evaluated
    shown = found.counted & (evaluated.scores >= score)

    def count(images: np.ndarray) -> np.ndarray:
        return np.bincount(images, minlength=evaluated.images)

    right = count(evaluated.found.image[shown & found.right])
    return Tally(right, count(evaluated.found.image[shown & ~found.right]), count(evaluated.truth.image) - right)
