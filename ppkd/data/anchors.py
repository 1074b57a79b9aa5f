"""Anchors for YOLOv3 from the boxes of a data set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ppkd.data.datasets import DetectionDataset
from ppkd.data.image import read_image
from ppkd.utils.errors import DataError

Sizes = NDArray[np.float64]
"""(k, 2) = widths and heights."""

SMALLEST = 2.0
"""Pixels below which no side of an anchor evolves."""
MUTATED = 0.9
SPREAD = 0.1
LEAST_FACTOR, LARGEST_FACTOR = 0.3, 3.0


def box_sizes(dataset: DetectionDataset, width: int, height: int) -> Sizes:
    """The sizes of all boxes when every picture is resized to ``width`` x ``height``.

    A picture is read where its annotation states no size. Raises :class:`DataError` where there is no box.
    """
    sizes = np.concatenate(list(_relative(dataset))) if len(dataset) else np.zeros((0, 2))
    if not len(sizes):
        raise DataError(f"{dataset.anno_path}: there is no box to find anchors for")
    return sizes * (width, height)


def _relative(dataset: DetectionDataset) -> Iterator[Sizes]:
    """Sizes of each picture's boxes as parts of the picture's."""
    for annotation in dataset:
        if not len(annotation.gt_bbox):
            continue
        height, width = annotation.height, annotation.width
        if not (height and width):
            height, width = read_image(annotation.file).shape[:2]
        corners = annotation.gt_bbox.astype(np.float64)
        # PaddleDetection counts the pixels of both ends here.
        yield (corners[:, 2:] - corners[:, :2] + 1) / (width, height)


def overlaps(sizes: Sizes, anchors: Sizes) -> NDArray[np.float64]:
    """(k, n) intersection over union of boxes and anchors around one centre."""
    shared = np.minimum(sizes[:, None], anchors).prod(axis=2)
    return np.asarray(shared / (sizes.prod(axis=1)[:, None] + anchors.prod(axis=1) - shared))


def mean_iou(sizes: Sizes, anchors: Sizes) -> float:
    """The mean over the boxes of the overlap with the best anchor."""
    return float(overlaps(sizes, anchors).max(axis=1).mean())


def fitness(sizes: Sizes, anchors: Sizes, least: float) -> float:
    """The mean over the boxes of the best anchor's likeness, 0 where it is not above ``least``.

    Likeness is the worse of the two sides' ratios, smaller to larger, as in YOLOv5.
    """
    ratios = sizes[:, None] / anchors
    best = np.minimum(ratios, 1 / ratios).min(axis=2).max(axis=1)
    return float((best * (best > least)).mean())


def k_means(sizes: Sizes, count: int, *, iters: int, seed: int) -> Sizes:
    """``count`` anchors, smallest area first: centres of clusters by overlap, as YOLOv2 chose its anchors.

    Starts from ``count`` different boxes that ``seed`` chooses and ends after ``iters`` steps, or when no box changes
    its cluster (Redmon and Farhadi, arXiv:1612.08242). Raises :class:`DataError` for fewer different boxes.
    """
    different = np.unique(sizes, axis=0)
    if len(different) < count:
        raise DataError(f"{count} anchors need as many boxes of different sizes, but there are {len(different)}")
    centres = np.random.default_rng(seed).choice(different, count, replace=False)
    nearest = np.full(len(sizes), -1)
    for _ in range(iters):
        before, nearest = nearest, overlaps(sizes, centres).argmax(axis=1)
        if (nearest == before).all():
            break
        members = np.bincount(nearest, minlength=count)[:, None]
        sums = np.stack([np.bincount(nearest, side, minlength=count) for side in sizes.T], axis=1)
        centres = np.where(members > 0, sums / np.maximum(members, 1), centres)
    return _sorted(centres)


def evolve(sizes: Sizes, anchors: Sizes, *, iters: int, least: float, seed: int) -> Sizes:
    """``anchors`` after ``iters`` random changes of their sides, each of which is kept if :func:`fitness` rises."""
    rng = np.random.default_rng(seed)
    best, reached = anchors, fitness(sizes, anchors, least)
    for _ in range(iters):
        strength = SPREAD * rng.random()
        changed = rng.random(anchors.shape) < MUTATED
        factors = 1 + changed * strength * rng.standard_normal(anchors.shape)
        tried = np.maximum(best * factors.clip(LEAST_FACTOR, LARGEST_FACTOR), SMALLEST)
        found = fitness(sizes, tried, least)
        if found > reached:
            best, reached = tried, found
    return _sorted(best)


def _sorted(anchors: Sizes) -> Sizes:
    return anchors[np.argsort(anchors.prod(axis=1), kind="stable")]
