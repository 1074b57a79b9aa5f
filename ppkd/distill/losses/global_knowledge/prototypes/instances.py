"""The instances of a training set among which prototypes are sought."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ppkd.data.annotation import Annotation


@dataclass(frozen=True)
class Instances:
    """Boxes of a data set, ordered by image.

    Attributes:
        image: position of the image in the data set, int64 (n,).
        box: corners in pixels of the original image, float32 (n, 4).
        label: class, int64 (n,).
    """

    image: np.ndarray
    box: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.image)

    def take(self, index: np.ndarray) -> Instances:
        """Those of ``index``, bool (n,) or int rows."""
        return Instances(self.image[index], self.box[index], self.label[index])

    def of(self, image: int) -> slice:
        """The rows of an image."""
        first, last = np.searchsorted(self.image, (image, image + 1))
        return slice(int(first), int(last))


def find_instances(
    annotations: Sequence[Annotation], *, min_side: float, max_images: int, max_instances: int, seed: int
) -> Instances:
    """All boxes wider and higher than ``min_side`` pixels of the original image that are no crowd.

    Of a class with more than ``max_images`` images or more than ``max_instances`` boxes in them, as many are drawn at
    random, always the same ones for a ``seed``.
    """
    everything = _gather(annotations)
    size = everything.box[:, 2:] - everything.box[:, :2]
    crowd = np.concatenate([np.zeros(0, np.int64), *(one.is_crowd for one in annotations)]) > 0
    large = everything.take((size > min_side).all(axis=1) & ~crowd)
    return large.take(np.sort(np.concatenate([np.zeros(0, np.int64), *_drawn(large, max_images, max_instances, seed)])))


def _gather(annotations: Sequence[Annotation]) -> Instances:
    counts = [len(one.gt_class) for one in annotations]
    boxes = [np.zeros((0, 4), np.float32), *(one.gt_bbox for one in annotations)]
    labels = [np.zeros(0, np.int64), *(one.gt_class for one in annotations)]
    return Instances(np.repeat(np.arange(len(counts)), counts), np.concatenate(boxes), np.concatenate(labels))


def _drawn(large: Instances, max_images: int, max_instances: int, seed: int) -> Iterator[np.ndarray]:
    """The rows of each class that stay."""
    for label in np.unique(large.label):
        rng = np.random.default_rng((seed, int(label)))
        rows = np.flatnonzero(large.label == label)
        images = np.unique(large.image[rows])
        if len(images) > max_images:
            rows = rows[np.isin(large.image[rows], rng.permutation(images)[:max_images])]
        yield rows if len(rows) <= max_instances else rng.permutation(rows)[:max_instances]
