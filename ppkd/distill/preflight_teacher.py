"""Whether the teachers can teach: their AP on a sample of the evaluation set, and the student's start beside it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ppkd.config import Config, Runtime
from ppkd.data import DetectionDataset, Loader, build_dataset
from ppkd.distill.model import DistillModel
from ppkd.metrics import Metric, build_metric
from ppkd.models.modes import evaluation_mode
from ppkd.structures import Batch
from ppkd.utils.errors import PPKDError, TrainingError
from ppkd.utils.logger import get_logger

CHANCE = 0.01
"""AP50 below which a teacher is no teacher: one whose classes, boxes or preprocessing are wrong finds nothing."""
STUDENT = "student's start"
LEAST_BOXES = 50
"""With fewer boxes nothing is concluded."""

Predict = Callable[[Batch], Mapping[str, Any]]

logger = get_logger(__name__)


def judge_teachers(
    cfg: Config, settings: Runtime, load: Callable[[DetectionDataset], Loader], model: DistillModel, *, starts: bool
) -> None:
    """Evaluate the teachers, and the student if it ``starts`` trained, on the same images.

    As many images as ``settings.preflight`` allows, evenly spread over ``EvalDataset``, as ``load`` reads them. A
    teacher that cannot predict, recorded answers say, is not evaluated.

    Raises :class:`TrainingError` for a teacher whose AP50 is below ``CHANCE``; warns of one that is no better than the
    student's start. Without a usable ``EvalDataset`` or enough boxes it says so and judges nothing.
    """
    detectors = {name: one for name in model.teachers if (one := _to_evaluate(model, name)) is not None}
    if not detectors:
        return
    names = list(detectors)
    if starts:
        detectors[STUDENT] = model.student.predict
    try:
        dataset = build_dataset(cfg, "EvalDataset")
        metrics = {name: build_metric(cfg, settings, dataset, output_dir=None) for name in detectors}
    except PPKDError as error:
        logger.warning("The %s is not evaluated: %s", " and the ".join(names), error)
        return
    sample = _sample(dataset, settings.preflight.images)
    if _boxes(sample.annotations) < LEAST_BOXES:
        text = "The %s is not evaluated: EvalDataset has too few boxes (%d)"
        logger.info(text, " and the ".join(names), _boxes(sample.annotations))
        return
    seconds = settings.preflight.seconds
    with evaluation_mode(model.student):
        seen = _predict(detectors, metrics, load(sample), seconds)
    boxes = _boxes([annotation for annotation in sample.annotations if annotation.im_id in seen])
    if boxes < LEAST_BOXES:
        text = "The %s is not judged: only %d boxes were seen in %g s"
        logger.warning(text, " and the ".join(names), boxes, seconds)
        return
    figures = {name: _figures(metric) for name, metric in metrics.items()}
    for name in names:
        _judge(name, figures, f"{len(seen)} images with {boxes} boxes of EvalDataset")


def _to_evaluate(model: DistillModel, name: str) -> Predict | None:
    """The prediction of a teacher that can be evaluated; a line says why another is not."""
    spec, abilities = model.teachers[name].spec(), model.teachers[name].abilities()
    if spec.num_classes != model.student.spec().num_classes:
        logger.info("The %s is not evaluated: it has other classes", name)
        return None
    if "predict" not in abilities:
        logger.info("The %s is not evaluated: it predicts nothing", name)
        return None
    return abilities["predict"]


def _sample(dataset: Any, count: int) -> Any:
    """``dataset`` with ``count`` of its images alone, evenly spread."""
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int))
    sample = copy.copy(dataset)
    sample.annotations = [dataset[int(index)] for index in chosen]
    return sample


def _predict(detectors: Mapping[str, Predict], metrics: Mapping[str, Metric], loader: Any, seconds: float) -> set[int]:
    """Give each metric its detector's detections until the time is up; the ids of the images seen."""
    started = time.perf_counter()
    seen: set[int] = set()
    for batch in loader:
        for name, metric in metrics.items():
            metric.update(batch, detectors[name](batch))
        seen.update(batch["im_id"].flatten().tolist())
        if time.perf_counter() - started > seconds:
            break
    return seen


def _figures(metric: Metric) -> tuple[float, float]:
    """AP50 and the headline; VOC's headline is at that overlap already."""
    figures = metric.accumulate()
    headline = figures[metric.headline]
    return figures.get("AP50", headline), headline


def _judge(name: str, figures: Mapping[str, tuple[float, float]], of: str) -> None:
    ap50, ap = figures[name]
    logger.info("%s: AP %.3f, AP50 %.3f on %s", name.capitalize(), ap, ap50, of)
    if ap50 < CHANCE:
        raise TrainingError(
            f"the {name} finds nothing: AP50 {ap50:.4f} on {of}. Are its weights of these classes, in this order, and "
            "EvalReader the preprocessing that it was trained with? -o preflight.evaluate=false trains regardless."
        )
    if STUDENT in figures:
        start = figures[STUDENT][1]
        logger.info("Student's start: AP %.3f on the same images", start)
        if start >= ap:
            logger.warning("The %s (AP %.3f) does not beat the student's start (AP %.3f)", name, ap, start)


def _boxes(annotations: Sequence[Any]) -> int:
    return sum(len(annotation.gt_class) for annotation in annotations)
