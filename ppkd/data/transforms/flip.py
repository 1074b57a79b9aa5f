"""RandomFlip."""

from __future__ import annotations

import cv2
import numpy as np

from ppkd.config import register
from ppkd.data.transforms.base import MASKS, Sample, Transform


@register
class RandomFlip(Transform):
    """Mirrors the image, its boxes and masks left to right with probability ``prob``."""

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample, mirrored or not."""
        if rng.uniform() >= self.prob:
            return sample
        width = np.float32(sample["image"].shape[1])
        sample["image"] = cv2.flip(sample["image"], 1)
        boxes = sample["gt_bbox"]
        sample["gt_bbox"] = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
        if MASKS in sample:
            x1, y1, x2, y2 = np.moveaxis(sample[MASKS], -1, 0)
            sample[MASKS] = np.stack([width - x1, y1, width - x2, y2], axis=-1)
        return sample
