"""Whether the teacher can teach: its AP on a sample of the evaluation set, and the student's start beside it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ppkd.config import Config, Runtime
from ppkd.data import DetectionDataset, Loader, build_dataset
from ppkd.distill.model import DistillModel
from ppkd.metrics import Metric, build_metric
from ppkd.models.modes import evaluation_mode
from ppkd.utils.errors import PPKDError, TrainingError
from ppkd.utils.logger import get_logger

CHANCE = 0.01
"""AP50 below which a teacher is no teacher: one whose classes, boxes or preprocessing are wrong finds nothing."""
LEAST_BOXES = 50
"""With fewer boxes nothing is concluded."""

logger = get_logger(__name__)


def judge_teacher(
    cfg: Config, settings: Runtime, load: Callable[[DetectionDataset], Loader], model: DistillModel, *, starts: bool
) -> None:
    """Evaluate the teacher, and the student if it ``starts`` trained, on the same images.

    As many images as ``settings.preflight`` allows, evenly spread over ``EvalDataset``, as ``load`` reads them.

    Raises :class:`TrainingError` for a teacher whose AP50 is below ``CHANCE``; warns of one that is no better than the
    student's start. Without a usable ``EvalDataset`` or enough boxes it says so and judges nothing.
    """
    if model.student.spec().num_classes != model.teacher.detector.spec().num_classes:
        logger.info("The teacher is not evaluated: it has other classes")
        return
    try:
        dataset = build_dataset(cfg, "EvalDataset")
        metrics = [build_metric(cfg, settings, dataset, output_dir=None) for _ in range(1 + starts)]
    except PPKDError as error:
        logger.warning("The teacher is not evaluated: %s", error)
        return
    sample = _sample(dataset, settings.preflight.images)
    if _boxes(sample.annotations) < LEAST_BOXES:
        logger.info("The teacher is not evaluated: EvalDataset has too few boxes (%d)", _boxes(sample.annotations))
        return
    detectors = [model.teacher.detector, model.student][: len(metrics)]
    seconds = settings.preflight.seconds
    seen = _predict(detectors, metrics, load(sample), seconds)
    boxes = _boxes([annotation for annotation in sample.annotations if annotation.im_id in seen])
    if boxes < LEAST_BOXES:
        logger.warning("The teacher is not judged: only %d boxes were seen in %g s", boxes, seconds)
        return
    _judge([_figures(metric) for metric in metrics], len(seen), boxes)


def _sample(dataset: Any, count: int) -> Any:
    """``dataset`` with ``count`` of its images alone, evenly spread."""
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int))
    sample = copy.copy(dataset)
    sample.annotations = [dataset[int(index)] for index in chosen]
    return sample


def _predict(detectors: Sequence[Any], metrics: Sequence[Metric], loader: Any, seconds: float) -> set[int]:
    """Give each metric its detector's detections until the time is up; the ids of the images seen."""
    started = time.perf_counter()
    seen: set[int] = set()
    for batch in loader:
        for detector, metric in zip(detectors, metrics, strict=True):
            with evaluation_mode(detector):
                metric.update(batch, detector.predict(batch))
        seen.update(batch["im_id"].flatten().tolist())
        if time.perf_counter() - started > seconds:
            break
    return seen


def _figures(metric: Metric) -> tuple[float, float]:
    """AP50 and the headline; VOC's headline is at that overlap already."""
    figures = metric.accumulate()
    headline = figures[metric.headline]
    return figures.get("AP50", headline), headline


def _judge(figures: Sequence[tuple[float, float]], images: int, boxes: int) -> None:
    (ap50, ap), of = figures[0], f"{images} images with {boxes} boxes of EvalDataset"
    logger.info("Teacher: AP %.3f, AP50 %.3f on %s", ap, ap50, of)
    if ap50 < CHANCE:
        raise TrainingError(
            f"the teacher finds nothing: AP50 {ap50:.4f} on {of}. Are teacher.weights of these classes, in this order, "
            "and EvalReader the preprocessing that it was trained with? -o preflight.evaluate=false trains regardless."
        )
    for _, start in figures[1:]:
        logger.info("Student's start: AP %.3f on the same images", start)
        if start >= ap:
            logger.warning("The teacher (AP %.3f) does not beat the student's start (AP %.3f)", ap, start)


def _boxes(annotations: Sequence[Any]) -> int:
    return sum(len(annotation.gt_class) for annotation in annotations)
