"""What every decoder is to a post-processor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from paddle import Tensor


class Decoder(ABC):
    """Turns raw numbers into boxes and scores."""

    @abstractmethod
    def __call__(
        self, raw: Sequence[Tensor], places: Any, im_shape: Tensor, scale_factor: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Boxes and scores as a ``Suppression`` takes them, in pixels of the original images.

        ``raw`` are the tensors that the detector's head gives and ``places`` where it gives them, anchors or proposals;
        ``im_shape`` and ``scale_factor`` float32 [N, 2] as in the batch.
        """
