"""RandomCrop."""

from __future__ import annotations

import numpy as np

from ppkd.config import register
from ppkd.data.transforms.base import Sample, Transform, between, clip_boxes, shift_boxes, take_boxes


@register(without_effect=("is_mask_crop",))
class RandomCrop(Transform):
    """Crops a region that some box overlaps by at least a threshold, and keeps the boxes whose centre it holds.

    Liu et al., "SSD: Single Shot MultiBox Detector", arXiv:1512.02325. ``thresholds`` (IoU of box and region) and, with
    ``allow_no_crop``, leaving the image whole are tried in random order, each with ``num_attempts`` regions whose side
    is ``scaling`` of the image's and whose width/height is ``aspect_ratio`` of its; the first that fits is taken. With
    ``cover_all_box`` every box must reach the threshold. ``aspect_ratio: null`` draws height and width apart. ``prob``
    is the probability of all this. ``is_mask_crop`` is accepted for PaddleDetection's files: masks always follow, and
    boxes are cut, not drawn anew around what remains of their masks. An image without boxes is left.
    """

    def __init__(
        self,
        aspect_ratio: tuple[float, float] | None = (0.5, 2.0),
        thresholds: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9),
        scaling: tuple[float, float] = (0.3, 1.0),
        num_attempts: int = 50,
        allow_no_crop: bool = True,
        cover_all_box: bool = False,
        is_mask_crop: bool = False,
        prob: float = 1.0,
    ) -> None:
        self.aspect_ratio = aspect_ratio
        self.thresholds: tuple[float | None, ...] = (*thresholds, None) if allow_no_crop else tuple(thresholds)
        self.scaling = scaling
        self.num_attempts = num_attempts
        self.cover_all_box = cover_all_box
        self.prob = prob

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample, cropped or whole."""
        boxes = sample["gt_bbox"]
        # An image that is always cropped draws no number for it, as before there was a probability.
        if len(boxes) == 0 or (self.prob < 1 and rng.uniform() >= self.prob):
            return sample
        height, width = sample["image"].shape[:2]
        for choice in rng.permutation(len(self.thresholds)):
            threshold = self.thresholds[choice]
            if threshold is None:
                return sample
            regions = self._regions(height, width, rng)
            overlap = iou(regions, boxes)
            reached = overlap.min(axis=1) if self.cover_all_box else overlap.max(axis=1)
            fits = (reached >= threshold) & kept(regions, boxes).any(axis=1)
            if fits.any():
                return crop(sample, regions[fits.argmax()])
        return sample

    def _regions(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """Candidate regions x1, y1, x2, y2, int64 (up to ``num_attempts``, 4), none of them empty."""
        scale = between(*self.scaling, rng, self.num_attempts)
        if self.aspect_ratio is None:
            high, wide = scale, between(*self.scaling, rng, self.num_attempts)
            usual = (high * height >= 0.5 * wide * width) & (high * height <= 2 * wide * width)
        else:
            low, top = self.aspect_ratio
            ratio = between(np.maximum(low, scale**2), np.minimum(top, scale**-2), rng, self.num_attempts)
            high, wide = scale / np.sqrt(ratio), scale * np.sqrt(ratio)
            usual = np.ones(self.num_attempts, bool)
        whole = np.array([width, height])
        size = np.minimum(np.stack([wide, high], axis=1) * whole, whole).astype(np.int64)
        corner = rng.integers(whole - size + 1)
        return np.concatenate([corner, corner + size], axis=1)[usual & (size > 0).all(axis=1)]


def iou(regions: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of every region (r, 4) with every box (k, 4), float (r, k)."""
    least = np.maximum(regions[:, None, :2], boxes[None, :, :2])
    most = np.minimum(regions[:, None, 2:], boxes[None, :, 2:])
    common = np.prod(np.maximum(most - least, 0), axis=2)
    area = [np.prod(group[:, 2:] - group[:, :2], axis=1) for group in (regions, boxes)]
    return common / (area[0][:, None] + area[1][None] - common)


def kept(regions: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Whether a region (r, 4) holds the centre of a box (k, 4), bool (r, k)."""
    centre = ((boxes[:, :2] + boxes[:, 2:]) / 2)[None]
    return ((regions[:, None, :2] <= centre) & (centre < regions[:, None, 2:])).all(axis=2)


def crop(sample: Sample, region: np.ndarray) -> Sample:
    """The region x1, y1, x2, y2 of the image, with the boxes whose centre it holds, cut at its border."""
    sample = take_boxes(sample, kept(region[None], sample["gt_bbox"])[0])
    x1, y1, x2, y2 = region.tolist()
    sample["image"] = sample["image"][y1:y2, x1:x2]
    sample["im_shape"] = np.array([y2 - y1, x2 - x1], np.float32)
    return clip_boxes(shift_boxes(sample, -x1, -y1), y2 - y1, x2 - x1)
