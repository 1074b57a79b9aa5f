"""Pictures to detections: preprocessing, an engine, and the time each part takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppkd.deploy.engine import Arrays, Engine
from ppkd.deploy.nms import Suppress
from ppkd.deploy.preprocess import Picture, Prepared, Preprocess
from ppkd.utils.errors import ConfigError

Detections = NDArray[np.float32]
"""(k, 6) = class, score, x1, y1, x2, y2 in pixels of the original picture."""


@dataclass(frozen=True)
class Found:
    """What is found in a picture: ``rows``, and ``masks`` uint8 (k, H, W) of its size where the model has any."""

    rows: Detections
    masks: NDArray[np.uint8] | None = None

    def take(self, keep: NDArray[np.bool_]) -> Found:
        """What ``keep`` bool (k,) says of it."""
        return Found(self.rows[keep], None if self.masks is None else self.masks[keep])


PERCENTILES = (50, 90, 99)


@dataclass
class Timing:
    """Seconds spent in each part, for how many pictures, and the seconds of each run of the engine."""

    preprocess: float = 0.0
    inference: float = 0.0
    postprocess: float = 0.0
    images: int = 0
    runs: list[float] = field(default_factory=list)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Adds the time spent inside to ``part``."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        setattr(self, part, getattr(self, part) + seconds)
        if part == "inference":
            self.runs.append(seconds)

    def report(self) -> str:
        """Total time, average latency and pictures per second, under PaddleDetection's headings."""
        total = self.preprocess + self.inference + self.postprocess
        images = max(self.images, 1)
        parts = [f"{part}_time(ms): {getattr(self, part) / images * 1e3:.2f}" for part in _PARTS]
        percentiles = np.percentile(self.runs or [0.0], PERCENTILES) * 1e3
        tail = [f"p{percent}: {value:.2f}" for percent, value in zip(PERCENTILES, percentiles, strict=True)]
        return "\n".join(
            [
                "------------------ Inference Time Info ----------------------",
                f"total_time(ms): {total * 1e3:.1f}, img_num: {self.images}",
                f"average latency time(ms): {total / images * 1e3:.2f}, QPS: {self.images / total if total else 0:.6f}",
                ", ".join(parts),
                f"inference of a batch(ms): {', '.join(tail)}",
            ]
        )


_PARTS = ("preprocess", "inference", "postprocess")


class Pipeline:
    """Detects objects in pictures; ``timing`` adds up over all calls.

    ``suppress`` makes detections of what ``engine`` gives, boxes and scores, where the engine does not do so itself.
    ``limit`` is the number of pictures that the engine takes at once, None for any.
    """

    def __init__(
        self, engine: Engine, preprocess: Preprocess, *, suppress: Suppress | None = None, limit: int | None = None
    ) -> None:
        self.engine = engine
        self.preprocess = preprocess
        self.suppress = suppress
        self.limit = limit
        self.timing = Timing()

    def predict(self, pictures: Picture | Sequence[Picture], batch_size: int = 1) -> list[Detections]:
        """The detections of each picture (a file, or an RGB array (H, W, 3) uint8), in order; one may stand alone.

        Raises :class:`DataError` naming the first file that cannot be read.
        """
        return [found.rows for found in self.find(pictures, batch_size)]

    def find(self, pictures: Picture | Sequence[Picture], batch_size: int = 1) -> list[Found]:
        """As :meth:`predict`, with masks where the model has any."""
        if isinstance(pictures, str | Path) or (isinstance(pictures, np.ndarray) and pictures.ndim == 3):
            pictures = [pictures]
        starts = range(0, len(pictures), batch_size)
        batches = ([self.prepare(picture) for picture in pictures[start : start + batch_size]] for start in starts)
        return [found for batch in batches for found in self.detect(batch)]

    def prepare(self, picture: Picture) -> Prepared:
        """One picture made ready for :meth:`detect`."""
        with self.timing.measure("preprocess"):
            return self.preprocess(picture)

    def detect(self, batch: Sequence[Prepared]) -> list[Found]:
        """What is found in each picture of a batch."""
        size = self.limit or len(batch)
        return [found for start in range(0, len(batch), size) for found in self._together(batch[start : start + size])]

    def _together(self, batch: Sequence[Prepared]) -> list[Found]:
        arrays = self._collate(batch)
        with self.timing.measure("inference"):
            outputs = self.engine(arrays)
        with self.timing.measure("postprocess"):
            if self.suppress is None:
                rows = split_detections(outputs[:2], len(arrays["image"]))
                masks = split_masks(outputs, [prepared.picture.shape[:2] for prepared in batch])
                return [Found(*pair) for pair in zip(rows[: len(batch)], masks, strict=True)]
            boxes, scores = outputs
            return [Found(self.suppress(boxes[i], scores[i])) for i in range(len(batch))]

    def benchmark(self, batch: Sequence[Prepared], *, warmup: int = 3, repeats: int = 10) -> None:
        """Computes a batch ``repeats`` times after ``warmup`` untimed runs; their mean counts in ``timing``."""
        arrays = self._collate(batch)
        for _ in range(warmup):
            self.engine(arrays)
        start = time.perf_counter()
        for _ in range(repeats):
            self.engine(arrays)
        mean = (time.perf_counter() - start) / repeats
        self.timing.inference += mean
        self.timing.runs.append(mean)

    def _collate(self, batch: Sequence[Prepared]) -> Arrays:
        self.timing.images += len(batch)
        with self.timing.measure("preprocess"):
            samples = [prepared.sample for prepared in batch]
            # A model of a fixed batch computes the last picture of a smaller one several times.
            samples += samples[-1:] * ((self.limit or 0) - len(samples))
            return self.preprocess.collate(samples)


def split_detections(outputs: Sequence[NDArray[Any]], images: int) -> list[Detections]:
    """The rows of ``bbox`` (M, 6) of each image by ``bbox_num`` (N,), without the rows that mean "nothing found".

    Raises :class:`ConfigError` if the outputs are something else: a model exported without its post-processing.
    """
    if len(outputs) != 2 or outputs[0].ndim != 2 or outputs[0].shape[1] != 6 or outputs[1].shape != (images,):
        shapes = [tuple(output.shape) for output in outputs]
        raise ConfigError(
            f"the model's outputs have the shapes {shapes}, not bbox (M, 6) and bbox_num ({images},): it was exported "
            "without post-processing or NMS and can only be timed; export it with export.post_process and nms true"
        )
    rows = np.split(outputs[0].astype(np.float32, copy=False), np.cumsum(outputs[1])[:-1])
    return [block[block[:, 0] >= 0] for block in rows]


def split_masks(
    outputs: Sequence[NDArray[Any]], sizes: Sequence[tuple[int, ...]]
) -> list[NDArray[np.uint8]] | list[None]:
    """The masks of each picture of a height and width in ``sizes``, for the rows that :func:`split_detections` keeps.

    Of the outputs ``bbox``, ``bbox_num`` and ``mask`` (M, H, W); None for each picture without the third.
    """
    if len(outputs) < 3:
        return [None] * len(sizes)
    rows, counts, masks = outputs
    ends = np.cumsum(counts)[:-1]
    blocks = zip(sizes, np.split(rows, ends), np.split(masks, ends), strict=False)
    return [found[own[:, 0] >= 0, :height, :width] for (height, width), own, found in blocks]
