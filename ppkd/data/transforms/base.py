"""What a transform is, and how a reader's list of them is applied.

A sample is a dict: ``image`` (H, W, 3) until ``Permute``, ``im_shape`` and ``scale_factor`` float32 (2,), ``im_id``
int64 (1,), and row by row per box ``gt_bbox`` float32 (k, 4) in pixels of ``image``, ``gt_class``, ``is_crowd``,
``difficult`` int64 (k,), ``gt_score`` float32 (k,), and where masks are read ``gt_poly`` float32 (k, L, S, 4), the
edges of their outlines as :meth:`ppkd.data.outlines.Outlines.padded` gives them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

Sample = dict[str, Any]
MIRRORED = "mirrored"
BOX_KEYS = ("gt_bbox", "gt_class", "gt_score", "is_crowd", "difficult")
MASKS = "gt_poly"


class Transform(ABC):
    """Changes one image and its boxes; may change the dict it is given."""

    @abstractmethod
    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The transformed sample; every random draw comes from ``rng``."""


class Fixed(Transform):
    """A transform without random draws, which an exported model's preprocessing can repeat."""

    @abstractmethod
    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """The transformed sample."""


class GroupTransform(ABC):
    """Changes several images together: those of a batch, or the two that ``Mixup`` blends."""

    @abstractmethod
    def __call__(self, samples: list[Sample], rng: np.random.Generator) -> list[Sample]:
        """The transformed samples; every random draw comes from ``rng``."""


class Views(GroupTransform):
    """Makes of every image several, view by view, without random draws; only an evaluation may use it.

    Mirrored ones have the key :data:`MIRRORED`.
    """

    @abstractmethod
    def __call__(self, samples: list[Sample], rng: np.random.Generator | None = None) -> list[Sample]:
        """The samples in all views."""


class Compose:
    """Applies transforms in order to a list of samples."""

    def __init__(self, transforms: Sequence[Transform | GroupTransform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, samples: list[Sample], rng: np.random.Generator) -> list[Sample]:
        """The samples after the last transform, in the same order, one view after the other."""
        for transform in self.transforms:
            if isinstance(transform, GroupTransform):
                samples = transform(samples, rng)
            else:
                samples = [transform(sample, rng) for sample in samples]
        return samples


def between(
    low: float | np.ndarray, high: float | np.ndarray, rng: np.random.Generator, size: int | None = None
) -> Any:
    """Uniform draws between two bounds in either order, as NumPy's older generator makes them."""
    return low + (high - low) * rng.random(size)


def take_boxes(sample: Sample, index: np.ndarray) -> Sample:
    """Keep the boxes of ``index`` (bool or integer rows) in every entry that has one row per box."""
    for key in (*BOX_KEYS, MASKS):
        if key in sample:
            sample[key] = sample[key][index]
    return sample


def scale_boxes(sample: Sample, x: float, y: float) -> Sample:
    """Boxes and outlines, where there are any, by the factors of both directions."""
    for key in ("gt_bbox", MASKS):
        if key in sample:
            sample[key] = sample[key] * np.array([x, y, x, y], np.float32)
    return sample


def shift_boxes(sample: Sample, x: float, y: float) -> Sample:
    """Boxes and outlines, where there are any, moved by that many pixels to the right and down."""
    for key in ("gt_bbox", MASKS):
        if key in sample:
            sample[key] = sample[key] + np.array([x, y, x, y], np.float32)
    return sample


def clip_boxes(sample: Sample, height: float, width: float) -> Sample:
    """Clip boxes to an image of that size and drop those of which no area remains."""
    if "gt_bbox" not in sample:
        return sample
    limit = np.array([width, height, width, height], np.float32)
    boxes = sample["gt_bbox"] = np.clip(sample["gt_bbox"], 0, limit)
    solid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return sample if solid.all() else take_boxes(sample, solid)
