"""COCO's twelve figures, of boxes and of masks."""

from __future__ import annotations

import logging
import os
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from ppkd.data.datasets.dataset import DetectionDataset
from ppkd.metrics.coco_truth import ground_truth
from ppkd.metrics.metric import Metric, logger
from ppkd.metrics.show import ascii_table

CURVES = "bbox_pr_curve"
SEGM = "segm_"
"""Before the names of the figures of masks."""
_AP, _AR = "Average Precision  (AP)", "Average Recall     (AR)"
_LINES = {
    "AP": (_AP, "0.50:0.95", "all", 100),
    "AP50": (_AP, "0.50", "all", 100),
    "AP75": (_AP, "0.75", "all", 100),
    "APs": (_AP, "0.50:0.95", "small", 100),
    "APm": (_AP, "0.50:0.95", "medium", 100),
    "APl": (_AP, "0.50:0.95", "large", 100),
    "AR1": (_AR, "0.50:0.95", "all", 1),
    "AR10": (_AR, "0.50:0.95", "all", 10),
    "AR100": (_AR, "0.50:0.95", "all", 100),
    "ARs": (_AR, "0.50:0.95", "small", 100),
    "ARm": (_AR, "0.50:0.95", "medium", 100),
    "ARl": (_AR, "0.50:0.95", "large", 100),
}


class COCOMetric(Metric):
    """AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl of the evaluated images, in 0..1.

    The figures are pycocotools', up to rounding in the last bit, computed by faster-coco-eval. A figure without any
    ground truth (no large box in the set, say) is -1, as in pycocotools. ``per_class`` has the AP of every class that
    occurs. Of a model of masks there are the same figures for these, ``segm_AP`` and so on, over the annotated masks.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        *,
        output_dir: str | os.PathLike[str] | None = None,
        classwise: bool = False,
        save_prediction_only: bool = False,
    ) -> None:
        super().__init__(dataset, output_dir=output_dir, classwise=classwise, save_prediction_only=save_prediction_only)
        self.headline = "AP"
        self.figures = (*_LINES, *(f"{SEGM}{name}" for name in _LINES))
        self._per_class: dict[str, float] = {}

    @property
    def per_class(self) -> dict[str, float]:
        """AP of every class that occurs."""
        return dict(self._per_class)

    def _compute(self) -> dict[str, float]:
        boxes = _evaluated(ground_truth(self.dataset, dict.fromkeys(self._images)), self._records(), "bbox")
        self._take_classes(boxes)
        return {**_figures(boxes), **self._of_masks()}

    def _of_masks(self) -> dict[str, float]:
        if not self._masks:
            return {}
        stated = {annotation.im_id: (annotation.height, annotation.width) for annotation in self.dataset.annotations}
        sizes = {i: self._masks[i].size if i in self._masks else stated[i] for i in self._images}
        truth = ground_truth(self.dataset, {i: size for i, size in sizes.items() if all(size)})
        if not truth["annotations"]:
            logger.warning("The evaluated images have no annotated mask: there are no figures of masks.")
            return {}
        figures = _figures(_evaluated(truth, self._segments(), "segm"))
        return {f"{SEGM}{name}": value for name, value in figures.items()}

    def _take_classes(self, evaluation: Any) -> None:
        """AP and curves of every class, from the precisions (overlap, recall, class, area, detections)."""
        names = dict(zip(self.dataset.category_ids, self.dataset.class_names, strict=True))
        precisions = evaluation.eval["precision"][:, :, :, 0, -1]
        self._per_class = {}
        for index, number in enumerate(evaluation.params.catIds):
            precision = precisions[:, :, index]
            if (precision < 0).all():
                continue
            name = names[int(number)]
            self._per_class[name] = float(precision[precision > -1].mean())
            self._draw_curve(CURVES, name, np.asarray(evaluation.params.recThrs), precision[0], 0.5)

    def _log_figures(self, logger: logging.Logger) -> None:
        figures = self.accumulate()
        kinds = {"": "bbox", SEGM: "segm"} if f"{SEGM}AP" in figures else {"": None}
        for prefix, kind in kinds.items():
            if kind is not None:
                logger.info("Evaluate annotation type *%s*", kind)
            for name, (title, overlap, area, most) in _LINES.items():
                value = figures[f"{prefix}{name}"]
                logger.info(" %s @[ IoU=%-9s | area=%6s | maxDets=%3d ] = %.3f", title, overlap, area, most, value)
        if self.classwise:
            logger.info("Per-category of bbox AP:\n%s", self._class_table())
            if self.output_dir is not None:
                logger.info("Precision-recall curves of every class are in %s.", self.output_dir / CURVES)

    def _class_table(self) -> str:
        """Three classes to a line, as PaddleDetection prints them."""
        cells = [(name, _figure(self.per_class.get(name))) for name in self.dataset.class_names]
        across = min(3, len(cells))
        lines = zip_longest(*(cells[start::across] for start in range(across)), fillvalue=("", ""))
        return ascii_table(("category", "AP") * across, [tuple(chain(*line)) for line in lines])


def _evaluated(truth: dict[str, Any], found: list[dict[str, Any]], kind: str) -> Any:
    """COCO's evaluation of what was ``found``, boxes or masks, run."""
    from faster_coco_eval import COCO, COCOeval_faster

    annotated = COCO(truth)
    evaluation = COCOeval_faster(annotated, annotated.loadRes(found), kind, print_function=_silent)
    evaluation.run()
    return evaluation


def _figures(evaluation: Any) -> dict[str, float]:
    return {name: float(value) for name, value in zip(_LINES, evaluation.stats[:12], strict=True)}


def _figure(value: float | None) -> str:
    return "nan" if value is None else f"{value:.3f}"


def _silent(*_lines: object) -> None:
    """Replaces the library's own output."""
