"""The figures of trained weights on the evaluation set of a configuration."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ppkd.config import Config, check, runtime
from ppkd.config.value import freeze
from ppkd.data import build_loader, build_reader
from ppkd.deploy.slices import Slicing
from ppkd.engine import environment, precision
from ppkd.engine.evaluation import evaluate
from ppkd.experiment.parts import open_dataset
from ppkd.experiment.sliced import SlicedDetector, whole_pictures
from ppkd.metrics import Metric, build_metric
from ppkd.metrics.metric import BBOX_FILE
from ppkd.metrics.results_file import read_detections
from ppkd.models.trained import trained_detector
from ppkd.utils.class_names import refuse_other_names
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


def evaluate_config(
    cfg: Config,
    weights: str | None = None,
    *,
    output_dir: str | os.PathLike[str] = ".",
    classwise: bool = False,
    json_eval: bool = False,
    save_prediction_only: bool = False,
    amp: bool = False,
    slicing: Slicing | None = None,
) -> dict[str, float]:
    """The figures of the detector of ``cfg`` on its ``EvalDataset``.

    Every ``.pdparams`` is a plain student, so nothing of a distillation is needed here.

    Args:
        cfg: the detector's configuration.
        weights: path or URL; the configuration's ``weights`` if not given.
        output_dir: where ``bbox.json``, ``metrics.json`` and the curves of ``classwise`` go.
        classwise: a table and precision-recall curves of every class.
        json_eval: score the ``bbox.json`` that is already in ``output_dir`` instead of running the detector.
        save_prediction_only: write ``bbox.json`` and compute nothing.
        amp: mixed precision.
        slicing: how pictures are cut into slices; they are whole if not given.

    Raises:
        PPKDError: the configuration, the data set or the weights are wrong.
    """
    if weights is not None:
        cfg = cfg.merge(freeze({"weights": weights}))
    check(cfg)
    settings = runtime(cfg)
    dataset = open_dataset(cfg, "EvalDataset", settings.num_classes)
    metric = build_metric(
        cfg, settings, dataset, output_dir=output_dir, classwise=classwise, save_prediction_only=save_prediction_only
    )
    if json_eval:
        return score_file(Path(output_dir) / BBOX_FILE, metric)
    gpu = environment.choose_device(settings.use_gpu, tf32=settings.tf32)
    detector = trained_detector(cfg)
    refuse_other_names(
        detector.class_names,
        dataset.class_names,
        where=cfg.where("EvalDataset"),
        label="EvalDataset",
        source=f"{settings.weights} was trained on",
    )
    numbers = precision.choose(amp=amp or settings.amp, level=settings.amp_level, dtype=settings.amp_dtype, gpu=gpu)
    with numbers.casting():
        if slicing is not None:
            return evaluate(SlicedDetector(detector, cfg, dataset, slicing), whole_pictures(cfg, dataset), metric)
        return evaluate(detector, build_loader(build_reader(cfg, "Eval"), dataset), metric)


def score_file(path: Path, metric: Metric) -> dict[str, float]:
    """The figures of the detections in a COCO result file, which :class:`Metric` wrote.

    Raises :class:`DataError` when the file is missing, malformed, or of another data set.
    """
    for im_id, rows in read_detections(path, metric.dataset).items():
        metric.update({"im_id": np.array([[im_id]])}, {"bbox": rows, "bbox_num": np.array([len(rows)])})
    figures = metric.accumulate()
    metric.log(logger)
    return figures
