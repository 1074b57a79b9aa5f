"""Mixup."""

from __future__ import annotations

import numpy as np

from ppkd.config import register
from ppkd.data.outlines import aligned
from ppkd.data.transforms.base import BOX_KEYS, MASKS, GroupTransform, Sample
from ppkd.utils.errors import ConfigError


@register
class Mixup(GroupTransform):
    """Blends two images and keeps the boxes of both, each with the weight of its image as ``gt_score``.

    Zhang et al., "Bag of Freebies for Training Object Detection Neural Networks", arXiv:1902.04103. The weight is drawn
    from Beta(``alpha``, ``beta``); the canvas is as large as the larger side of each. The reader gives two images in
    the first ``mixup_epoch`` epochs and one later, which passes unchanged.
    """

    def __init__(self, alpha: float = 1.5, beta: float = 1.5) -> None:
        if alpha <= 0 or beta <= 0:
            raise ConfigError(f"alpha and beta must be positive, not {alpha} and {beta}")
        self.alpha = alpha
        self.beta = beta

    def __call__(self, samples: list[Sample], rng: np.random.Generator) -> list[Sample]:
        """One sample of two, or the one there is."""
        if len(samples) == 1:
            return samples
        first, second = samples
        factor = float(rng.beta(self.alpha, self.beta))
        mixed = {**first, "image": blend(first["image"], second["image"], factor)}
        mixed["im_shape"] = np.array(mixed["image"].shape[:2], np.float32)
        first = {**first, "gt_score": first["gt_score"] * np.float32(factor)}
        second = {**second, "gt_score": second["gt_score"] * np.float32(1 - factor)}
        mixed.update({key: np.concatenate([first[key], second[key]]) for key in BOX_KEYS})
        if MASKS in first:
            mixed[MASKS] = np.concatenate(aligned([first[MASKS], second[MASKS]]))
        return [mixed]


def blend(first: np.ndarray, second: np.ndarray, factor: float) -> np.ndarray:
    """``factor`` of the first and the rest of the second image, both at the top left of a black canvas, uint8."""
    height, width = np.maximum(first.shape[:2], second.shape[:2])
    canvas = np.zeros((height, width, 3), np.float32)
    canvas[: first.shape[0], : first.shape[1]] = first * np.float32(factor)
    canvas[: second.shape[0], : second.shape[1]] += second * np.float32(1 - factor)
    # PaddleDetection cuts off the fraction too, instead of rounding.
    return canvas.astype(np.uint8)
