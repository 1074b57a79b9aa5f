"""The labelled images of a batch in which others may have no annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import paddle
from paddle import Tensor

from ppkd.structures import Batch, Record
from ppkd.structures.truth import Truth

T = TypeVar("T", Record, Truth)


@dataclass(frozen=True)
class Labelled:
    """The positions int64 (M,) of the labelled images in a batch, ``None`` when all are."""

    index: Tensor | None

    def of(self, value: T) -> T:
        """The part of a record or of ground truth that is of these images."""
        return value if self.index is None else value.images(self.index)


def labelled_images(batch: Batch) -> Labelled | None:
    """The labelled images, all of them in a batch without the key ``labelled``; ``None`` when there are none.

    This waits for the device, so it comes before a step has queued any work there.
    """
    if "labelled" not in batch:
        return Labelled(None)
    positions = np.flatnonzero(batch["labelled"].numpy()).tolist()
    return Labelled(paddle.to_tensor(positions, dtype="int64")) if positions else None
