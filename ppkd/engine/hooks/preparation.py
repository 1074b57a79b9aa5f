"""What losses make from the training set before an epoch."""

from __future__ import annotations

from ppkd.data.training_set import TrainingSet
from ppkd.engine.hooks.base import Hook, TrainingRun


class Preparation(Hook):
    """Lets the model prepare itself before the first step of the epochs for which it asks.

    In the middle of an epoch a resumed run has what it needs in its checkpoint, so the result does not depend on where
    it was interrupted. All processes do this, each for itself; it comes before other hooks show their bars.
    """

    def __init__(self, images: TrainingSet) -> None:
        self._images = images

    def before_epoch(self, run: TrainingRun, epoch: int) -> None:
        """Prepare, where the epoch begins."""
        if run.position.batch == 0 and run.model.due(epoch):
            run.model.prepare(epoch, self._images)
