"""PASCAL VOC's mean average precision."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ppkd.data.datasets.dataset import DetectionDataset
from ppkd.metrics.metric import Metric
from ppkd.metrics.precision import Boxes, best_matches, curve, eleven_point, integral, match
from ppkd.metrics.show import ascii_table

CURVES = "voc_pr_curve"
PERCENT = range(50, 100, 5)
"""The overlaps of ``coco_style``."""


@dataclass(frozen=True)
class ClassRow:
    """A class's line of the table; ``gts`` without difficult boxes; ``recall`` and ``ap`` are None without any."""

    name: str
    gts: int
    dets: int
    recall: float | None
    ap: float | None


class VOCMetric(Metric):
    """Mean average precision over the classes that occur in the evaluated images.

    Args:
        map_type: ``11point`` (VOC 2007) or ``integral`` (VOC 2010 and later) at one overlap, or ``coco_style``: the
            integral at each of the overlaps 0.5, 0.55 ... 0.95, as localisation distillation is reported on VOC (Zheng
            et al., arXiv 2102.12252).
        overlap_thresh: a detection is right in the table if it overlaps more than this.
        is_bbox_normalized: False takes corners as pixels inside the box (width x2 - x1 + 1), the devkit's convention.
        evaluate_difficult: count boxes marked difficult like any other; otherwise neither finding nor missing them
            counts, which always holds for crowds.

    :meth:`accumulate` gives ``mAP`` in 0..1, with ``coco_style`` instead ``AP50``, ``AP55`` ... ``AP95`` and ``AP``,
    their mean; ``table`` has a row for every class.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        *,
        output_dir: str | os.PathLike[str] | None = None,
        classwise: bool = False,
        save_prediction_only: bool = False,
        map_type: Literal["11point", "integral", "coco_style"] = "11point",
        overlap_thresh: float = 0.5,
        is_bbox_normalized: bool = False,
        evaluate_difficult: bool = False,
    ) -> None:
        super().__init__(dataset, output_dir=output_dir, classwise=classwise, save_prediction_only=save_prediction_only)
        self.headline = "AP" if map_type == "coco_style" else "mAP"
        self.figures = ("AP", *(f"AP{percent}" for percent in PERCENT)) if self.headline == "AP" else ("mAP",)
        self.map_type = map_type
        self.overlap_thresh = overlap_thresh
        self.is_bbox_normalized = is_bbox_normalized
        self.evaluate_difficult = evaluate_difficult
        self.table: list[ClassRow] = []

    @property
    def per_class(self) -> dict[str, float]:
        """Average precision of every class that occurs, at the overlap of ``table``."""
        return {row.name: row.ap for row in self.table if row.ap is not None}

    def _compute(self) -> dict[str, float]:
        asked = {f"AP{percent}": percent / 100 for percent in PERCENT} if self.headline == "AP" else {}
        positives, found = self._matched((self.overlap_thresh, *asked.values()))
        names = self.dataset.class_names
        self.table = [self._row(*item) for item in zip(names, found, positives.tolist(), strict=True)]
        if not asked:
            return {"mAP": _mean([row.ap for row in self.table if row.ap is not None])}
        figures = {
            name: _mean(
                [self._average(own[:, [0, column]], gts) for own, gts in zip(found, positives, strict=True) if gts]
            )
            for column, name in enumerate(asked, start=2)
        }
        return {"AP": _mean(list(figures.values())), **figures}

    def _matched(self, thresholds: Sequence[float]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Per class, the number of boxes to be found, and score and outcome at each threshold of its detections."""
        classes = len(self.dataset.class_names)
        annotations = [annotation for annotation in self.dataset.annotations if annotation.im_id in self._images]
        ignored = [one.is_crowd.astype(bool) for one in annotations]
        if not self.evaluate_difficult:
            ignored = [own | one.difficult.astype(bool) for own, one in zip(ignored, annotations, strict=True)]
        truth = Boxes.of([one.gt_bbox for one in annotations], [one.gt_class for one in annotations], classes)
        left_out = np.concatenate([np.zeros(0, bool), *ignored])
        rows = [self._images[one.im_id] for one in annotations]
        rows = [one[np.argsort(-one[:, 1], kind="stable")] for one in rows]
        found = Boxes.of([one[:, 2:] for one in rows], [one[:, 0].astype(np.int64) for one in rows], classes)
        best, overlap = best_matches(found, truth, not self.is_bbox_normalized)
        table = [np.concatenate([np.zeros(0, np.float32), *(one[:, 1] for one in rows)])]
        table += [match(best, overlap, left_out, threshold) for threshold in thresholds]
        positives = np.bincount(truth.groups[~left_out] % classes, minlength=classes)
        return positives, _by_class(np.column_stack(table), found.groups % classes, classes)

    def _row(self, name: str, found: np.ndarray, gts: int) -> ClassRow:
        if gts == 0:
            return ClassRow(name, 0, len(found), None, None)
        recall, precision = curve(found[:, 0], found[:, 1].astype(np.int64), gts)
        self._draw_curve(CURVES, name, recall, precision, self.overlap_thresh)
        last = float(recall[-1]) if len(recall) else 0.0
        return ClassRow(name, gts, len(found), last, self._average(found[:, :2], gts))

    def _average(self, found: np.ndarray, gts: int) -> float:
        """Average precision of detections (k, 2) = score, outcome."""
        average = eleven_point if self.map_type == "11point" else integral
        return average(*curve(found[:, 0], found[:, 1].astype(np.int64), gts))

    def _log_figures(self, logger: logging.Logger) -> None:
        rows = [(r.name, str(r.gts), str(r.dets), _figure(r.recall), _figure(r.ap)) for r in self.table]
        logger.info("Per-category of VOC AP:\n%s", ascii_table(("class", "gts", "dets", "recall", "ap"), rows))
        figures = {name: 100 * value for name, value in self.accumulate().items()}
        if self.headline == "mAP":
            logger.info("mAP(%.2f, %s) = %.2f%%", self.overlap_thresh, self.map_type, figures["mAP"])
        else:
            logger.info(", ".join(f"{name} = {percent:.2f}%" for name, percent in figures.items()))


def _by_class(table: np.ndarray, labels: np.ndarray, classes: int) -> list[np.ndarray]:
    """The rows of every class, in their order."""
    order = np.argsort(labels, kind="stable")
    return np.split(table[order], np.searchsorted(labels[order], np.arange(1, classes)))


def _mean(precisions: Sequence[float]) -> float:
    return float(np.mean(precisions)) if precisions else 0.0


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
