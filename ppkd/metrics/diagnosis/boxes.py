"""The boxes of a whole evaluation in flat arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ppkd.data.annotation import Annotation


@dataclass(frozen=True)
class Boxes:
    """n boxes of many images.

    Attributes:
        image: place of each box's image in the data set, int64 (n,).
        label: class index int64 (n,).
        box: corners x1, y1, x2, y2 float64 (n, 4) in pixels of the original images.
    """

    image: np.ndarray
    label: np.ndarray
    box: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Evaluated:
    """The ground truth and the detections of ``images`` images.

    Attributes:
        images: how many there are.
        classes: how many classes there are.
        truth: boxes to be found.
        ignored: boxes around crowds and difficult ones: neither finding nor missing them counts.
        found: detections, the best first.
        scores: theirs, float64, falling.
    """

    images: int
    classes: int
    truth: Boxes
    ignored: Boxes
    found: Boxes
    scores: np.ndarray

    @classmethod
    def of(cls, annotations: Sequence[Annotation], classes: int, found: Mapping[int, np.ndarray]) -> Self:
        """The boxes of ``annotations`` and what was ``found`` in them, (k, 6) = class, score, corners by image id."""
        kept = [annotation.is_crowd + annotation.difficult == 0 for annotation in annotations]
        rows = [np.asarray(found.get(annotation.im_id, _NOTHING), np.float64) for annotation in annotations]
        image = np.repeat(np.arange(len(annotations)), [len(one) for one in rows])
        flat = np.concatenate([_NOTHING, *rows])
        order = np.argsort(-flat[:, 1], kind="stable")
        return cls(
            len(annotations),
            classes,
            _truth([annotation.take(here) for annotation, here in zip(annotations, kept, strict=True)]),
            _truth([annotation.take(~here) for annotation, here in zip(annotations, kept, strict=True)]),
            Boxes(image[order], flat[order, 0].astype(np.int64), flat[order, 2:]),
            flat[order, 1],
        )

    @property
    def positives(self) -> np.ndarray:
        """Boxes to be found of every class, int64 (classes,)."""
        return np.bincount(self.truth.label, minlength=self.classes)


_NOTHING = np.zeros((0, 6))


def _truth(annotations: Sequence[Annotation]) -> Boxes:
    image = np.repeat(np.arange(len(annotations)), [len(annotation.gt_class) for annotation in annotations])
    labels = np.concatenate([np.zeros(0, np.int64), *(annotation.gt_class for annotation in annotations)])
    boxes = np.concatenate([np.zeros((0, 4)), *(annotation.gt_bbox for annotation in annotations)])
    return Boxes(image, labels.astype(np.int64), boxes.astype(np.float64))
