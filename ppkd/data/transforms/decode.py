"""Decode."""

from __future__ import annotations

import numpy as np

from ppkd.config import register
from ppkd.data.image import read_image
from ppkd.data.transforms.base import Fixed, Sample, clip_boxes


@register
class Decode(Fixed):
    """Reads ``im_file`` as RGB uint8, or takes the ``image`` (H, W, 3) that is already in the sample.

    Sets ``h``, ``w``, ``im_shape`` and ``scale_factor``. An annotated size ``h``, ``w`` that differs from the image's
    is replaced, and boxes are clipped to the image. Raises :class:`DataError` for a file that cannot be read.
    """

    def __init__(self) -> None:
        """Decode has no settings."""

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """The sample with its image."""
        stated = (sample.get("h", 0), sample.get("w", 0))
        if "image" not in sample:
            sample["image"] = read_image(sample["im_file"], stated)
        height, width = sample["image"].shape[:2]
        sample["h"], sample["w"] = height, width
        sample["im_shape"] = np.array([height, width], np.float32)
        sample["scale_factor"] = np.ones(2, np.float32)
        return sample if stated == (height, width) else clip_boxes(sample, height, width)
