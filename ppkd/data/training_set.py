"""The training set as models see it outside of training steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ppkd.structures import Batch

if TYPE_CHECKING:
    from ppkd.data.annotation import Annotation


@dataclass(frozen=True)
class TrainingSet:
    """The training set as it is read outside of training steps: in order, in the transforms of evaluation.

    Attributes:
        annotations: the images and their boxes in pixels of the original images.
        class_names: the classes.
        batches: gives the batches of the images at some positions in ``annotations``. An image that cannot be read is
            left out, so ``im_id`` tells which ones a batch has.
        folder: where the run's files go; None for a process that writes none.
    """

    annotations: Sequence[Annotation]
    class_names: Sequence[str]
    batches: Callable[[Sequence[int]], Iterable[Batch]]
    folder: Path | None = None
