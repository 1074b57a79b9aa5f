"""Detection in overlapping slices of a picture, for objects that are small in it (SAHI, arXiv:2202.06934)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ppkd.data.windows import windows
from ppkd.deploy.pipeline import Detections, Found, Pipeline
from ppkd.deploy.preprocess import Picture, Prepared
from ppkd.models.postprocess.merge import Method, Overlap, merge
from ppkd.utils.errors import ConfigError


@dataclass(frozen=True)
class Slicing:
    """How pictures are cut, and how the detections of their slices are merged; PaddleDetection's defaults.

    Attributes:
        size: height and width of a slice in pixels.
        overlap: the share of a slice's height and width that the next slice has too, in [0, 1).
        method: ``nms``, ``nmm`` or ``concat``, see :func:`merge`.
        threshold: the least overlap of two boxes of one object.
        metric: how overlap is measured, ``ios`` or ``iou``.
    """

    size: tuple[int, int] = (640, 640)
    overlap: tuple[float, float] = (0.25, 0.25)
    method: Method = "nms"
    threshold: float = 0.6
    metric: Overlap = "ios"

    def windows(self, height: int, width: int) -> NDArray[np.intp]:
        """(n, 4) = x1, y1, x2, y2 of the slices of such a picture, see :func:`ppkd.data.windows.windows`."""
        return windows((height, width), self.size, self.overlap)

    def merge(self, rows: Detections) -> Detections:
        """The detections of a picture from those of its slices, (k, 6) in the picture's pixels."""
        return merge(rows, self.method, threshold=self.threshold, overlap=self.metric)


class SlicedPipeline(Pipeline):
    """A pipeline that detects in the slices of each picture, ``batch_size`` at a time; ``timing`` counts pictures."""

    def __init__(self, pipeline: Pipeline, slicing: Slicing, batch_size: int = 1) -> None:
        super().__init__(pipeline.engine, pipeline.preprocess, suppress=pipeline.suppress, limit=pipeline.limit)
        self.timing = pipeline.timing
        self.slicing = slicing
        self.batch_size = batch_size
        self._slices = pipeline

    def prepare(self, picture: Picture) -> Prepared:
        """The picture decoded; its slices are prepared when they are detected in."""
        with self.timing.measure("preprocess"):
            sample = self.preprocess.decoded(picture)
        return Prepared(sample["image"], sample)

    def detect(self, batch: Sequence[Prepared]) -> list[Found]:
        """The detections of each picture, those of its slices merged; raises :class:`ConfigError` for masks."""
        return [Found(self._detect(prepared.picture)) for prepared in batch]

    def _detect(self, picture: NDArray[np.uint8]) -> Detections:
        windows = self.slicing.windows(*picture.shape[:2])
        cut = [picture[y1:y2, x1:x2] for x1, y1, x2, y2 in windows]
        parts = self._slices.find(cut, self.batch_size)
        if any(part.masks is not None for part in parts):
            raise ConfigError("masks of slices cannot be joined: leave out --slice_infer")
        found = [part.rows for part in parts]
        self.timing.images += 1 - len(cut)
        with self.timing.measure("postprocess"):
            shifts = np.zeros((len(windows), 6), np.float32)
            shifts[:, 2:] = np.tile(windows[:, :2], 2)
            rows = np.concatenate(found) + np.repeat(shifts, [len(each) for each in found], axis=0)
            return self.slicing.merge(rows)
