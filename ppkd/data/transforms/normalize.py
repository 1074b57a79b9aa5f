"""NormalizeImage and Permute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ppkd.config import register
from ppkd.data.pixels import channels_first, normalise, normalising
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
        plain = norm_type == "none"
        self.map = normalising((0, 0, 0) if plain else mean, (1, 1, 1) if plain else std, is_scale=is_scale)

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """The sample with a normalised float32 image."""
        sample["image"] = normalise(sample["image"], self.map)
        return sample


@register
class Permute(Fixed):
    """(H, W, 3) to (3, H, W)."""

    def __init__(self) -> None:
        """Permute has no settings."""

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """The sample with channels first."""
        sample["image"] = channels_first(sample["image"])
        return sample
