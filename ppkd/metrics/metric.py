"""What all metrics share: collecting detections, writing them to files, and logging the figures."""

from __future__ import annotations

import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ppkd.data.datasets.dataset import DetectionDataset
from ppkd.metrics.masks import Masks, encoded, host
from ppkd.metrics.show import draw_curve
from ppkd.utils import processes
from ppkd.utils.atomic import atomic_open, output_folder
from ppkd.utils.errors import DataError
from ppkd.utils.files import check_outputs
from ppkd.utils.logger import get_logger
from ppkd.utils.names import file_stems

BBOX_FILE = "bbox.json"
MASK_FILE = "mask.json"
FIGURES_FILE = "metrics.json"

logger = get_logger(__name__)


class Metric(ABC):
    """Collects the detections of a whole data set and turns them into figures.

    An image that comes twice (distributed samplers fill up their last batch) counts once, with its first detections.
    After :meth:`accumulate` the next :meth:`update` begins a new evaluation.

    Args:
        dataset: names, ids and ground truth.
        output_dir: where ``bbox.json``, ``mask.json``, ``metrics.json`` and curves go; None writes none of
            them. Of several processes the first one writes.
        classwise: also report every class, with its precision-recall curve.
        save_prediction_only: write ``bbox.json`` and compute nothing.

    Raises:
        ConfigError: ``output_dir`` cannot be written into.
        DataError: the annotations are in it under the name of a result.
    """

    headline: str
    figures: tuple[str, ...]
    """The names of all figures that there may be, the headline first."""

    def __init__(
        self,
        dataset: DetectionDataset,
        *,
        output_dir: str | os.PathLike[str] | None = None,
        classwise: bool = False,
        save_prediction_only: bool = False,
    ) -> None:
        self.dataset = dataset
        self.output_dir = None if output_dir is None or not processes.is_first() else output_folder(output_dir)
        if self.output_dir is not None and dataset.anno_path is not None:
            results = [self.output_dir / name for name in (BBOX_FILE, MASK_FILE, FIGURES_FILE)]
            check_outputs(results, [dataset.anno_path])
        self.classwise = classwise
        self.save_prediction_only = save_prediction_only
        self._images: dict[int, np.ndarray] = {}
        self._masks: dict[int, Masks] = {}
        self._figures: dict[str, float] | None = None

    def update(self, batch: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Take the detections of a batch.

        Args:
            batch: ``im_id`` int64 (N, 1).
            result: ``bbox`` float32 (K, 6) = class index, score, x1, y1, x2, y2 in pixels of the original image, sorted
                by image; ``bbox_num`` int (N,). Rows of a negative class are a model's fill for "nothing". A model
                of masks adds ``mask`` uint8 (K, H, W) as large as the batch's largest original image.

        Raises:
            DataError: a class index beyond the data set's classes.
        """
        if self._figures is not None:
            self._images, self._masks, self._figures = {}, {}, None
        kept = []
        for im_id, rows in _per_image(batch, result):
            kept.append(self._sound(im_id, rows))
            self._images.setdefault(im_id, rows[kept[-1]])
        if "mask" in result:
            for im_id, masks in encoded(batch, result, kept):
                self._masks.setdefault(im_id, masks)

    def share(self) -> None:
        """Take the images of all processes, after the last :meth:`update` and in every one of them."""
        own = (self._images, self._masks) if self._figures is None else ({}, {})
        parts = processes.gather(own)
        found = {im_id: rows for images, _ in parts for im_id, rows in images.items()}
        self._masks = {im_id: masks for _, images in parts for im_id, masks in images.items()}
        ordered = [annotation.im_id for annotation in self.dataset.annotations]
        self._images, self._figures = {im_id: found[im_id] for im_id in ordered if im_id in found}, None

    def accumulate(self) -> dict[str, float]:
        """The figures of all detections taken; empty with ``save_prediction_only``.

        Raises:
            DataError: no image was evaluated.
        """
        if self._figures is None:
            if not self._images:
                raise DataError("nothing to evaluate: the data set gave no image")
            self._write(BBOX_FILE, self._records())
            if self._masks:
                self._write(MASK_FILE, self._segments())
            self._figures = {} if self.save_prediction_only else self._compute()
            if self._figures:
                self._write(FIGURES_FILE, self._figures)
        return dict(self._figures)

    @property
    @abstractmethod
    def per_class(self) -> dict[str, float]:
        """Average precision in 0..1 of every class that occurs, after :meth:`accumulate`."""

    @abstractmethod
    def _compute(self) -> dict[str, float]:
        """The figures of ``self._images``."""

    def log(self, logger: logging.Logger) -> None:
        """Write the figures of :meth:`accumulate` as lines."""
        self.accumulate()
        if self.output_dir is not None:
            logger.info("The bbox result is saved to %s.", self.output_dir / BBOX_FILE)
            if self._masks:
                logger.info("The mask result is saved to %s.", self.output_dir / MASK_FILE)
        if self.save_prediction_only:
            logger.info("Only predictions were asked for (save_prediction_only): no figures.")
        else:
            self._log_figures(logger)

    @abstractmethod
    def _log_figures(self, logger: logging.Logger) -> None:
        """Write the figures, when there are any."""

    def _draw_curve(self, folder: str, name: str, recall: np.ndarray, precision: np.ndarray, overlap: float) -> None:
        """Save the curve of class ``name`` in ``folder`` of the output, with ``classwise``."""
        if self.classwise and self.output_dir is not None:
            draw_curve(self.output_dir / folder, self._stems[name], name, recall, precision, overlap)

    @cached_property
    def _stems(self) -> dict[str, str]:
        """What the files of each class begin with."""
        return file_stems(self.dataset.class_names)

    def _sound(self, im_id: int, rows: np.ndarray) -> np.ndarray:
        """Which rows are detections, bool (k,); raises :class:`DataError` for a class that the data set lacks."""
        real, finite = rows[:, 0] >= 0, np.isfinite(rows).all(axis=1)
        if (real & ~finite).any():
            logger.warning("Image %d: %d detections are not finite and are left out.", im_id, (real & ~finite).sum())
        sound = real & finite
        rows = rows[sound]
        classes = len(self.dataset.class_names)
        if rows.size and rows[:, 0].max() >= classes:
            raise DataError(
                f"the model detects class {int(rows[:, 0].max())} in image {im_id}, but the data set has {classes} "
                "classes; num_classes and the data set must agree"
            )
        return sound

    def _records(self) -> list[dict[str, Any]]:
        """All detections in the form of COCO's result files."""
        ids = self.dataset.category_ids
        return [
            {
                "image_id": im_id,
                "category_id": ids[int(label)],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": score,
            }
            for im_id, rows in self._images.items()
            for label, score, x1, y1, x2, y2 in rows.tolist()
        ]

    def _segments(self) -> list[dict[str, Any]]:
        """All masks in the form of COCO's result files, of the detections in the same order as their boxes."""
        ids = self.dataset.category_ids
        return [
            {"image_id": im_id, "category_id": ids[int(row[0])], "segmentation": mask, "score": float(row[1])}
            for im_id, rows in self._images.items()
            if im_id in self._masks
            for row, mask in zip(rows, self._masks[im_id].rles, strict=True)
        ]

    def _write(self, name: str, content: Any) -> None:
        if self.output_dir is not None:
            with atomic_open(self.output_dir / name) as file:
                file.write(json.dumps(content).encode())


def _per_image(batch: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[tuple[int, np.ndarray]]:
    """Image ids and their rows float64 (k, 6)."""
    im_ids = host(batch["im_id"]).reshape(-1).tolist()
    counts = host(result["bbox_num"]).reshape(-1)
    rows = host(result["bbox"]).astype(np.float64).reshape(-1, 6)
    if len(im_ids) != len(counts) or counts.sum() != len(rows):
        raise DataError(f"{len(rows)} detections counted as {counts.tolist()} for the images {im_ids}")
    return zip(im_ids, np.split(rows, np.cumsum(counts)[:-1]), strict=True)
