"""RandomDistort."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ppkd.config import register
from ppkd.data.transforms.base import Sample, Transform, between

LUMA = np.array([0.299, 0.587, 0.114])
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
FROM_YIQ = np.array([[1.0, 0.956, 0.621], [1.0, -0.272, -0.647], [1.0, -1.107, 1.705]])

Range = tuple[float, float, float]


@register
class RandomDistort(Transform):
    """Random brightness, contrast, saturation and hue, as one linear map of the colours.

    Each of the four settings is lowest value, highest value and the probability of *leaving it out*. ``random_apply``
    draws the order and applies the first ``count`` (YOLO); otherwise the
    order is SSD's and ``random_channel`` may permute the channels. ``prob`` is the probability of distorting at all.
    The result is float32 and may leave 0..255, as in PaddleDetection.
    """

    def __init__(
        self,
        hue: Range = (-18, 18, 0.5),
        saturation: Range = (0.5, 1.5, 0.5),
        contrast: Range = (0.5, 1.5, 0.5),
        brightness: Range = (0.5, 1.5, 0.5),
        random_apply: bool = True,
        count: int = 4,
        random_channel: bool = False,
        prob: float = 1.0,
    ) -> None:
        self.brightness = (brightness_map, brightness)
        self.contrast = (contrast_map, contrast)
        self.saturation = (saturation_map, saturation)
        self.hue = (hue_map, hue)
        self.random_apply = random_apply
        self.count = count
        self.random_channel = random_channel
        self.prob = prob

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with other colours."""
        if rng.uniform() >= self.prob:
            return sample
        colours = np.eye(4)
        for make, (low, high, skip) in self._order(rng):
            # PaddleDetection's third number is the probability of not distorting.
            if rng.uniform() >= skip:
                colours = make(between(low, high, rng)) @ colours
        if self.random_channel and not self.random_apply and rng.integers(2):
            colours[:3] = colours[rng.permutation(3)]
        if not np.array_equal(colours, np.eye(4)):
            image = sample["image"].astype(np.float32, copy=False)
            sample["image"] = cv2.transform(image, colours[:3].astype(np.float32))
        return sample

    def _order(self, rng: np.random.Generator) -> list[tuple[Callable[[float], np.ndarray], Range]]:
        if self.random_apply:
            steps = [self.brightness, self.contrast, self.saturation, self.hue]
            return [steps[i] for i in rng.permutation(4)[: self.count]]
        if rng.integers(2):
            return [self.brightness, self.contrast, self.saturation, self.hue]
        return [self.brightness, self.saturation, self.hue, self.contrast]


def brightness_map(delta: float) -> np.ndarray:
    """Adds ``delta`` to every channel; all maps here are homogeneous, (4, 4)."""
    out = np.eye(4)
    out[:3, 3] = delta
    return out


def contrast_map(delta: float) -> np.ndarray:
    """Multiplies every channel by ``delta``."""
    return np.diag([delta, delta, delta, 1.0])


def saturation_map(delta: float) -> np.ndarray:
    """Moves every colour away from its grey (``delta`` > 1) or towards it."""
    out = contrast_map(delta)
    out[:3, :3] += (1 - delta) * LUMA
    return out


def hue_map(delta: float) -> np.ndarray:
    """Turns the chroma plane of YIQ by ``delta`` half turns."""
    # PaddleDetection's default range, -18 to 18, is meant in degrees but multiplied by pi: any angle is equally likely.
    cosine, sine = np.cos(delta * np.pi), np.sin(delta * np.pi)
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    out = np.eye(4)
    out[:3, :3] = FROM_YIQ @ turn @ TO_YIQ
    return out
