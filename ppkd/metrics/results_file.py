"""Detections in the form of COCO's result files, which :class:`ppkd.metrics.Metric` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppkd.data.datasets.dataset import DetectionDataset
from ppkd.utils.errors import DataError
from ppkd.utils.files import read_json


def read_detections(path: Path, dataset: DetectionDataset) -> dict[int, np.ndarray]:
    """The detections float64 (k, 6) = class index, score, x1, y1, x2, y2 of every image of ``dataset``, by its id.

    Raises :class:`DataError` when the file is missing, malformed, or of another data set.
    """
    classes = {category: index for index, category in enumerate(dataset.category_ids)}
    rows: dict[int, list[list[float]]] = {annotation.im_id: [] for annotation in dataset.annotations}
    for record in _read_records(path):
        try:
            rows[record["image_id"]].append(_row(record, classes))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: {record} does not belong to this data set ({error})") from error
    return {im_id: np.array(found, np.float64).reshape(-1, 6) for im_id, found in rows.items()}


def _row(record: Mapping[str, Any], classes: Mapping[int, int]) -> list[float]:
    x, y, width, height = record["bbox"]
    return [classes[record["category_id"]], record["score"], x, y, x + width, y + height]


def _read_records(path: Path) -> Sequence[Mapping[str, Any]]:
    try:
        content = read_json(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read for --json_eval: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path}: not a json file of detections ({error})") from error
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of detections")
    return content
