"""Where the figures of a run are published and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ppkd.engine.loss_window import LossWindow


@dataclass(frozen=True)
class Step:
    """One finished update: ``batch`` of ``epoch`` and ``number`` over the whole run, all counted from 0; seconds.

    ``images`` are those of this process.
    """

    epoch: int
    batch: int
    number: int
    learning_rate: float
    images: int
    data_cost: float
    batch_cost: float


@dataclass
class EventStorage:
    """The figures of the present epoch: whoever makes one puts it here, whoever shows one reads it here.

    Attributes:
        losses: the loss terms of the steps, which stay on the device until somebody reads them.
        figures: what hooks measured after the epoch's steps, an evaluation's figures of merit for instance.
    """

    losses: LossWindow = field(default_factory=LossWindow)
    figures: dict[str, float] = field(default_factory=dict)

    def begin_epoch(self, *, whole: bool) -> None:
        """Forget the epoch before; the means of a resumed one, which is not ``whole``, go on."""
        if whole:
            self.losses.start_epoch()
        self.figures.clear()

    def put(self, figures: Mapping[str, float]) -> None:
        """Publish ``figures`` of the present epoch, the newest of each name."""
        self.figures.update(figures)
