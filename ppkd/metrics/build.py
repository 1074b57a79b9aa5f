"""The metric that a configuration names."""

from __future__ import annotations

import os

from ppkd.config import Config, Runtime
from ppkd.data.datasets.dataset import DetectionDataset
from ppkd.metrics.coco import COCOMetric
from ppkd.metrics.metric import Metric
from ppkd.metrics.voc import VOCMetric
from ppkd.utils.errors import ConfigError


def build_metric(
    cfg: Config,
    settings: Runtime,
    dataset: DetectionDataset,
    *,
    output_dir: str | os.PathLike[str] | None,
    classwise: bool = False,
    save_prediction_only: bool = False,
) -> Metric:
    """The metric named by ``metric`` (COCO or VOC, with ``map_type``) on ``dataset``; see :class:`Metric`.

    ``settings`` are the top level of ``cfg``, which says where they stand. Every metric works with every data set.

    Raises:
        ConfigError: the model has more classes than the data set, or the images have no box to compare with.
    """
    classes = len(dataset.class_names)
    if settings.num_classes != classes:
        raise ConfigError(
            f"{cfg.where('num_classes')}: num_classes is {settings.num_classes}, but the evaluation data set has "
            f"{classes} classes ({', '.join(dataset.class_names[:5])}{', ...' if classes > 5 else ''})"
        )
    if not save_prediction_only and not any(len(annotation.gt_class) for annotation in dataset.annotations):
        raise ConfigError(f"{cfg.where('EvalDataset')}: the images have no annotated box to evaluate against")
    if settings.metric == "VOC":
        return VOCMetric(
            dataset,
            output_dir=output_dir,
            classwise=classwise,
            save_prediction_only=save_prediction_only,
            map_type=settings.map_type,
        )
    return COCOMetric(dataset, output_dir=output_dir, classwise=classwise, save_prediction_only=save_prediction_only)
