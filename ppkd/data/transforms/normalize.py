"""NormalizeImage and Permute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from ppkd.config import register
from ppkd.data.transforms.base import Fixed, Sample
from ppkd.utils.errors import ConfigError


@register
class NormalizeImage(Fixed):
    """(H, W, 3) to float32: over 255 if ``is_scale``, then (x - ``mean``) / ``std`` unless ``norm_type`` is none."""

    def __init__(
        self,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        is_scale: bool = True,
        norm_type: Literal["mean_std", "none"] = "mean_std",
    ) -> None:
        if len(mean) != 3 or len(std) != 3 or 0 in std:
            raise ConfigError(f"mean and std need three numbers each, std none of them 0, not {mean} and {std}")
        offset = np.array(mean) if norm_type == "mean_std" else np.zeros(3)
        spread = np.array(std) if norm_type == "mean_std" else np.ones(3)
        slope = (1 / 255 if is_scale else 1.0) / spread
        self.map = np.column_stack([np.diag(slope), -offset / spread]).astype(np.float32)

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """The sample with a normalised float32 image."""
        image = sample["image"].astype(np.float32, copy=False)
        sample["image"] = cv2.transform(image, self.map)
        return sample


@register
class Permute(Fixed):
    """(H, W, 3) to (3, H, W)."""

    def __init__(self) -> None:
        """Permute has no settings."""

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """The sample with channels first."""
        sample["image"] = np.ascontiguousarray(sample["image"].transpose(2, 0, 1))
        return sample
