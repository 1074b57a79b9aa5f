"""Evaluation in slices: the loader reads whole pictures, the detector sees their slices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from paddle import nn

from ppkd.config import Config
from ppkd.data import DetectionDataset, Loader, build_loader, build_reader
from ppkd.data.transforms import Compose, Decode, Permute
from ppkd.deploy.engine import EagerEngine
from ppkd.deploy.infer_cfg import InferConfig, preprocess_steps
from ppkd.deploy.pipeline import Pipeline
from ppkd.deploy.preprocess import Preprocess
from ppkd.deploy.slices import SlicedPipeline, Slicing
from ppkd.models.detectors.detector import Detector
from ppkd.structures import Batch

READER = "EvalReader"


class SlicedDetector(nn.Layer):
    """``detector`` on the slices of pictures, each prepared as ``EvalReader`` of ``cfg`` says and merged again.

    ``EvalReader.batch_size`` is the number of slices that are computed at once.
    """

    def __init__(self, detector: Detector, cfg: Config, dataset: DetectionDataset, slicing: Slicing) -> None:
        super().__init__()
        self.detector = detector
        described = InferConfig.of(cfg, dataset.class_names, dataset.category_ids)
        prepared = replace(described, preprocess=preprocess_steps(cfg, READER), use_dynamic_shape=True)
        pipeline = Pipeline(EagerEngine(detector), Preprocess(prepared, cfg.where(READER)))
        self._pipeline = SlicedPipeline(pipeline, slicing, build_reader(cfg, "Eval").settings.batch_size)

    def predict(self, batch: Batch) -> dict[str, Any]:
        """``bbox`` (M, 6) and ``bbox_num`` (N,) of the pictures [N, 3, H, W], 0 to 255, of a :func:`whole_pictures`."""
        pictures = batch["image"].numpy().transpose(0, 2, 3, 1).astype(np.uint8)
        found = self._pipeline.predict(list(pictures))
        return {"bbox": np.concatenate(found), "bbox_num": np.array([len(rows) for rows in found])}


def whole_pictures(cfg: Config, dataset: DetectionDataset) -> Loader:
    """The pictures of ``dataset`` one by one, decoded and nothing else."""
    reader = replace(
        build_reader(cfg, "Eval"), sample_transforms=Compose([Decode(), Permute()]), batch_transforms=Compose([])
    )
    return build_loader(reader, dataset, batch_size=1)


def own_slices(cfg: Config) -> dict[str, Any]:
    """The fields of :class:`Slicing` that an ``EvalDataset`` of the kind ``SlicedCOCODataSet`` sets."""
    given = {field: cfg.at(f"EvalDataset.{key}", None) for field, key in _KEYS.items()}
    return {field: tuple(value) for field, value in given.items() if value is not None}


_KEYS = {"size": "sliced_size", "overlap": "overlap_ratio"}
