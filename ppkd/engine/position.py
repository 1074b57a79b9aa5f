"""How far a run is."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Position:
    """Where a run is: ``batch`` of ``epoch`` comes next, ``step`` updates were made; the best AP so far."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int | None = None

    def advance(self) -> None:
        """One more update was made."""
        self.batch += 1
        self.step += 1

    def next_epoch(self) -> None:
        """All batches of the epoch were seen."""
        self.epoch += 1
        self.batch = 0

    def improve(self, figure: float) -> bool:
        """Whether ``figure`` of the present epoch is better than the best one so far, whose place it then takes.

        An equal one is not, and neither is NaN (nothing to measure): the earlier model stays.
        """
        if math.isnan(figure) or (self.best is not None and figure <= self.best):
            return False
        self.best, self.best_epoch = figure, self.epoch
        return True
