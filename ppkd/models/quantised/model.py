"""What trains a quantised student: any model that trains it, and the ranges of its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from paddle import Tensor, nn

from ppkd.models.quantised.student import one_batch
from ppkd.structures import Batch

if TYPE_CHECKING:
    from ppkd.models.detectors.detector import Detector


class QuantisedModel(nn.Layer):
    """``inner``, a detector or a distillation model, with the ``ranges`` that :func:`quantise` made of its student.

    The ranges are buffers of this model and not of the student, so that the student is saved as a plain one and they
    are saved beside it, with the adapters.
    """

    def __init__(self, inner: Any, ranges: nn.LayerDict) -> None:
        super().__init__()
        self.inner = inner
        self.ranges = ranges

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of the model inside."""
        with one_batch(self.ranges):
            return self.inner(batch)

    def deployable(self) -> Detector:
        """The student."""
        return self.inner.deployable()

    def set_progress(self, epoch: float, step: int | None = None) -> None:
        """Tell the model inside where training is."""
        self.inner.set_progress(epoch, step)

    def due(self, epoch: int) -> bool:
        """Whether the model inside prepares before ``epoch``."""
        return self.inner.due(epoch)

    def prepare(self, epoch: int, images: Any) -> None:
        """Let the model inside prepare."""
        self.inner.prepare(epoch, images)

    def fingerprints(self) -> Mapping[str, str]:
        """Those of the model inside."""
        return self.inner.fingerprints()
