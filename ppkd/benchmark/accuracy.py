"""The AP of a deployed model: what its engine finds in the evaluation set, with the preprocessing that it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ppkd.config import Config, runtime
from ppkd.experiment.parts import open_dataset
from ppkd.metrics import build_metric
from ppkd.utils.errors import DataError

if TYPE_CHECKING:
    from ppkd.deploy.pipeline import Pipeline


def average_precision(pipeline: Pipeline, cfg: Config) -> dict[str, float]:
    """The figures of ``pipeline`` on the ``EvalDataset`` of ``cfg``; a picture that cannot be read counts as empty.

    Raises :class:`PPKDError` for a data set that is missing or of another number of classes.
    """
    settings = runtime(cfg)
    dataset = open_dataset(cfg, "EvalDataset", settings.num_classes)
    metric = build_metric(cfg, settings, dataset, output_dir=None)
    for annotation in dataset:
        try:
            [rows] = pipeline.predict([annotation.file])
        except DataError:
            rows = np.zeros((0, 6), np.float32)
        metric.update({"im_id": np.array([[annotation.im_id]])}, {"bbox": rows, "bbox_num": np.array([len(rows)])})
    return metric.accumulate()
