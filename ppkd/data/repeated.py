"""A few augmented views of every image, which epochs take in turn, so that answers to them can be recorded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ppkd.data.sampling import Stream, generator
from ppkd.data.transforms import BatchRandomResize, Mixup
from ppkd.utils.errors import ConfigError

if TYPE_CHECKING:
    from ppkd.data.reader import BuiltReader

Recorded = Callable[[int, Sequence[int]], Mapping[str, np.ndarray]]
"""What is recorded of a view of the images at some indices: arrays by their key in the batch, images first."""
SEED = 0
"""Of the views of all runs, so that runs of several seeds can share what is recorded."""


def nothing(view: int, indices: Sequence[int]) -> Mapping[str, np.ndarray]:
    """Of views that are not recorded."""
    return {}


@dataclass(frozen=True)
class RepeatedViews:
    """``count`` views of every image; epoch e has the view e modulo ``count``.

    A view is drawn by number and image alone: neither the run's seed nor the order of images changes it.
    """

    count: int
    recorded: Recorded = nothing

    def view(self, epoch: int) -> int:
        """The number of the view that ``epoch`` has."""
        return epoch % self.count

    def generator(self, view: int, index: int) -> np.random.Generator:
        """Draws the transforms of the image at ``index`` in that ``view``."""
        return generator(SEED, Stream.VIEW, view, index)

    def check_sizes(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Raise :class:`ConfigError` unless all images have one size."""
        sizes = sorted({sample["image"].shape[1:] for sample in samples})
        if len(sizes) > 1:
            first, last = (" x ".join(map(str, size)) for size in (sizes[0], sizes[-1]))
            raise ConfigError(
                f"a teacher's cache needs images of one size, but the reader makes {first} and {last} pixels: PadBatch "
                "would pad an image as its batch needs. Write Resize with keep_ratio: false, or Pad: {size: [H, W]}"
            )


def check_repeatable(reader: BuiltReader) -> None:
    """Raise :class:`ConfigError` for transforms whose images depend on the batch or the epoch."""
    for transform in reader.batch_transforms.transforms:
        if isinstance(transform, BatchRandomResize) and transform.single.varies:
            raise ConfigError(
                f"{reader.name}: a teacher's cache needs images of one size, but BatchRandomResize draws one for each "
                "batch: give it one target_size with random_size: false and random_interp: false"
            )
    epochs = reader.settings.mixup_epoch
    if epochs > 0 and any(isinstance(each, Mixup) for each in reader.sample_transforms.transforms):
        raise ConfigError(
            f"{reader.name}: a teacher's cache needs the same views in all epochs, but Mixup ends after {epochs}: set "
            "mixup_epoch to 0 (always) or -1 (never)"
        )
