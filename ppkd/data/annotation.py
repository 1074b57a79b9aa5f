"""What is known of one image before its file is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from ppkd.data.outlines import Outlines


@dataclass(frozen=True)
class Annotation:
    """One image and its boxes, in pixels of the original image.

    ``height`` and ``width`` are 0 if unknown before the image is read. ``gt_bbox`` float32 (k, 4) x1, y1, x2, y2;
    ``gt_class`` (index into the data set's ``class_names``), ``is_crowd`` and ``difficult`` int64 (k,). ``labelled`` is
    false for an image without annotation. ``gt_poly`` are the outlines of the k masks where the data set reads any.
    """

    file: Path
    im_id: int
    height: int
    width: int
    gt_bbox: np.ndarray
    gt_class: np.ndarray
    is_crowd: np.ndarray
    difficult: np.ndarray
    labelled: bool = True
    gt_poly: Outlines | None = None

    @classmethod
    def bare(cls, file: Path, im_id: int, height: int = 0, width: int = 0) -> Self:
        """An image without annotation."""
        none = np.zeros(0, np.int64)
        return cls(file, im_id, height, width, np.zeros((0, 4), np.float32), none, none, none, labelled=False)

    def take(self, index: np.ndarray) -> Self:
        """The same image with the boxes of ``index``, bool (k,) or integer rows."""
        return replace(
            self,
            gt_bbox=self.gt_bbox[index],
            gt_class=self.gt_class[index],
            is_crowd=self.is_crowd[index],
            difficult=self.difficult[index],
            gt_poly=None if self.gt_poly is None else self.gt_poly.take(index),
        )
