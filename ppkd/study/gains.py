"""What a method gained over its baseline: the mean over seeds, its confidence interval, and the word for it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

CONFIDENCE = 0.95
GAIN, LOSS, NEITHER = "gain", "loss", "no difference shown"


@dataclass(frozen=True)
class Gain:
    """Differences to the baseline of the same seed, in points.

    Attributes:
        values: one difference for each seed.
        mean: of ``values``.
        half_width: of the interval of Student's t distribution around ``mean``; infinite with one seed.
    """

    values: tuple[float, ...]
    mean: float
    half_width: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The gain that paired differences ``values``, one at least, show."""
        return cls(tuple(values), statistics.fmean(values), half_width(values))

    @property
    def low(self) -> float:
        """The interval's lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """The interval's upper end."""
        return self.mean + self.half_width

    @property
    def word(self) -> str:
        """``gain`` or ``loss`` when the whole interval is on that side of 0, else ``no difference shown``."""
        if self.low > 0:
            return GAIN
        return LOSS if self.high < 0 else NEITHER


def half_width(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean of ``values``; infinite for a single one."""
    from scipy import stats

    count = len(values)
    if count < 2:
        return math.inf
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * statistics.stdev(values) / math.sqrt(count))
