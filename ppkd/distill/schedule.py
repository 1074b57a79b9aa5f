"""How the weight of a distillation loss changes while training goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class WeightSchedule:
    """A factor on a loss's weight as a function of the epoch (a real number: 1.5 is the middle of the second).

    Attributes:
        warmup_epochs: the factor grows linearly from 0 to 1 over so many epochs.
        decay: ``cosine`` lets it fall from 1 to 0 along half a cosine, ending at ``stop_epoch``.
        stop_epoch: from here on the loss is 0.

    Raises:
        ValueError: a negative number, or a cosine without an end.
    """

    warmup_epochs: float = 0.0
    decay: Literal["none", "cosine"] = "none"
    stop_epoch: float | None = None

    def __post_init__(self) -> None:
        if self.warmup_epochs < 0:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}: give 0 or more")
        if self.decay == "cosine" and self.stop_epoch is None:
            raise ValueError("decay is cosine, which ends at stop_epoch: give that epoch too")
        if self.stop_epoch is not None and self.stop_epoch <= 0:
            raise ValueError(f"stop_epoch is {self.stop_epoch}: give a number above 0")

    def factor(self, epoch: float) -> float:
        """The factor at ``epoch``, between 0 and 1."""
        if self.stop_epoch is not None and epoch >= self.stop_epoch:
            return 0.0
        factor = min(1.0, epoch / self.warmup_epochs) if self.warmup_epochs else 1.0
        if self.decay == "cosine" and self.stop_epoch is not None:
            factor *= 0.5 * (1.0 + math.cos(math.pi * epoch / self.stop_epoch))
        return factor
