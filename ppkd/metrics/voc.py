"""PASCAL VOC's mean average precision."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ppkd.data.datasets.dataset import DetectionDataset
from ppkd.metrics.metric import Metric
from ppkd.metrics.precision import curve, eleven_point, integral, match, overlaps
from ppkd.metrics.show import ascii_table, draw_curve

CURVES = "voc_pr_curve"


@dataclass(frozen=True)
class ClassRow:
    """A class's line of the table; ``gts`` without difficult boxes; ``recall`` and ``ap`` are None without any."""

    name: str
    gts: int
    dets: int
    recall: float | None
    ap: float | None


class VOCMetric(Metric):
    """Mean average precision at one overlap, over the classes that occur in the evaluated images.

    Args:
        map_type: ``11point`` (VOC 2007) or ``integral`` (VOC 2010 and later).
        overlap_thresh: a detection is right if it overlaps more than this.
        is_bbox_normalized: False takes corners as pixels inside the box (width x2 - x1 + 1), the devkit's convention.
        evaluate_difficult: count boxes marked difficult like any other; otherwise neither finding nor missing them
            counts, which always holds for crowds.

    :meth:`accumulate` gives ``mAP`` in 0..1; ``table`` has a row for every class.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        *,
        output_dir: str | os.PathLike[str] | None = None,
        classwise: bool = False,
        save_prediction_only: bool = False,
        map_type: Literal["11point", "integral"] = "11point",
        overlap_thresh: float = 0.5,
        is_bbox_normalized: bool = False,
        evaluate_difficult: bool = False,
    ) -> None:
        super().__init__(dataset, output_dir=output_dir, classwise=classwise, save_prediction_only=save_prediction_only)
        self.headline = "mAP"
        self.map_type = map_type
        self.overlap_thresh = overlap_thresh
        self.is_bbox_normalized = is_bbox_normalized
        self.evaluate_difficult = evaluate_difficult
        self.table: list[ClassRow] = []

    def _compute(self) -> dict[str, float]:
        classes = len(self.dataset.class_names)
        positives = np.zeros(classes, np.int64)
        found: list[list[np.ndarray]] = [[] for _ in range(classes)]
        for annotation in self.dataset.annotations:
            if annotation.im_id not in self._images:
                continue
            ignored = annotation.is_crowd.astype(bool)
            if not self.evaluate_difficult:
                ignored = ignored | annotation.difficult.astype(bool)
            positives += np.bincount(annotation.gt_class[~ignored], minlength=classes)
            rows = self._images[annotation.im_id]
            rows = rows[np.argsort(-rows[:, 1], kind="stable")]
            for label in np.unique(rows[:, 0]).astype(int):
                own, truth = rows[rows[:, 0] == label], annotation.gt_class == label
                overlap = overlaps(
                    own[:, 2:], annotation.gt_bbox[truth].astype(np.float64), not self.is_bbox_normalized
                )
                found[label].append(np.column_stack([own[:, 1], match(overlap, ignored[truth], self.overlap_thresh)]))
        self.table = [
            self._row(*item) for item in zip(self.dataset.class_names, found, positives.tolist(), strict=True)
        ]
        precisions = [row.ap for row in self.table if row.ap is not None]
        return {"mAP": float(np.mean(precisions)) if precisions else 0.0}

    def _row(self, name: str, found: list[np.ndarray], gts: int) -> ClassRow:
        pairs = np.concatenate(found) if found else np.zeros((0, 2))
        if gts == 0:
            return ClassRow(name, 0, len(pairs), None, None)
        recall, precision = curve(pairs[:, 0], pairs[:, 1].astype(np.int64), gts)
        average = eleven_point if self.map_type == "11point" else integral
        if self.classwise and self.output_dir is not None:
            draw_curve(self.output_dir / CURVES, name, recall, precision, self.overlap_thresh)
        return ClassRow(name, gts, len(pairs), float(recall[-1]) if len(recall) else 0.0, average(recall, precision))

    def _log_figures(self, logger: logging.Logger) -> None:
        rows = [(r.name, str(r.gts), str(r.dets), _figure(r.recall), _figure(r.ap)) for r in self.table]
        logger.info("Per-category of VOC AP:\n%s", ascii_table(("class", "gts", "dets", "recall", "ap"), rows))
        percent = 100 * self.accumulate()["mAP"]
        logger.info("mAP(%.2f, %s) = %.2f%%", self.overlap_thresh, self.map_type, percent)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
