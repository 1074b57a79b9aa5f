"""MultiscaleTestResize."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ppkd.config import register
from ppkd.data.transforms.base import MIRRORED, Sample, Views
from ppkd.data.transforms.resize import Resize, Size


@register
class MultiscaleTestResize(Views):
    """Every image at several sizes, in evaluation and prediction: what is found in all of them is suppressed together.

    The first one is ``origin_target_size``, then, with ``use_flip``, the same mirrored left to right, then each of
    ``target_size``: a pair as in :class:`Resize`, or a number that the long side becomes. The ratio of the sides is
    kept; ``interp`` is OpenCV's number.
    """

    def __init__(
        self,
        origin_target_size: Size = (800, 1333),
        target_size: Sequence[Size] = (),
        interp: int = cv2.INTER_LINEAR,
        use_flip: bool = True,
    ) -> None:
        self.resizes = [Resize(size, interp=interp) for size in (origin_target_size, *target_size)]
        self.use_flip = use_flip

    def __call__(self, samples: list[Sample], rng: np.random.Generator | None = None) -> list[Sample]:
        """All images at the first size, then all in the next view, and so on."""
        first, *others = [[resize(dict(sample)) for sample in samples] for resize in self.resizes]
        mirrored = [[_mirrored(sample) for sample in first]] if self.use_flip else []
        return [sample for view in (first, *mirrored, *others) for sample in view]


def _mirrored(sample: Sample) -> Sample:
    return {**sample, "image": cv2.flip(sample["image"], 1), MIRRORED: True}
