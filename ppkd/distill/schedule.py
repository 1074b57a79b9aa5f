"""How the weight of a distillation loss changes while training goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Decay = Literal["none", "linear", "cosine", "up_down"]


@dataclass(frozen=True)
class WeightSchedule:
    """A factor on a loss's weight as a function of the epoch (a real number: 1.5 is the middle of the second).

    With e the epoch and E ``stop_epoch`` the decays are 1 - e / E (``linear``), (1 + cos(pi e / E)) / 2 (``cosine``)
    and, with t = E // 4, 1 + e / t up to t and 2 - 2 (e - t) / (E - t) from there (``up_down``), those of DeFeat's
    code (arXiv 2103.14475).

    Attributes:
        warmup_epochs: the factor grows linearly from 0 to 1 over so many epochs.
        decay: what multiplies it from epoch 0 on.
        stop_epoch: from here on the loss is 0.
        floor: what ``linear`` and ``cosine`` fall to instead of 0: floor + (1 - floor) * decay. It is 0.1 in
            DAMO-YOLO (arXiv 2211.15444), with a cosine that ends with the training.
        by_epoch: the decay is constant during an epoch, as in DeFeat's code, instead of changing with every step.

    Raises:
        ValueError: a negative number, a decay without an end, or a floor that the decay does not have.
    """

    warmup_epochs: float = 0.0
    decay: Decay = "none"
    stop_epoch: float | None = None
    floor: float = 0.0
    by_epoch: bool = False

    def __post_init__(self) -> None:
        if self.warmup_epochs < 0:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}: give 0 or more")
        if self.decay != "none" and self.stop_epoch is None:
            raise ValueError(f"decay is {self.decay}, which ends at stop_epoch: give that epoch too")
        if self.stop_epoch is not None and self.stop_epoch <= 0:
            raise ValueError(f"stop_epoch is {self.stop_epoch}: give a number above 0")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor is {self.floor}: give a number from 0 to 1")
        if self.floor and self.decay not in ("linear", "cosine"):
            raise ValueError(f"floor is {self.floor}, but decay is {self.decay}: only linear and cosine have a floor")

    def factor(self, epoch: float) -> float:
        """The factor at ``epoch``: between 0 and 1, with ``up_down`` between 0 and 2."""
        if self.ended(epoch):
            return 0.0
        warmup = min(1.0, epoch / self.warmup_epochs) if self.warmup_epochs else 1.0
        return warmup * self._decayed(math.floor(epoch) if self.by_epoch else epoch)

    def ended(self, epoch: float) -> bool:
        """Whether the factor is 0 at ``epoch`` and ever after."""
        return self.stop_epoch is not None and epoch >= self.stop_epoch

    def _decayed(self, epoch: float) -> float:
        if self.stop_epoch is None or self.decay == "none":
            return 1.0
        if self.decay == "up_down":
            return _up_down(epoch, self.stop_epoch)
        linear = self.decay == "linear"
        left = 1.0 - epoch / self.stop_epoch if linear else 0.5 * (1.0 + math.cos(math.pi * epoch / self.stop_epoch))
        return self.floor + (1.0 - self.floor) * left


def _up_down(epoch: float, end: float) -> float:
    top = end // 4
    return 1.0 + epoch / top if epoch < top else 2.0 - 2.0 * (epoch - top) / (end - top)
