"""Evaluation in slices finds what whole pictures, made small by the reader, have lost."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
import pytest
from paddle import nn

from ppkd.cli import eval
from ppkd.config import Config, load_config
from ppkd.deploy.slices import Slicing
from ppkd.experiment import evaluate_config, evaluation
from ppkd.utils.errors import ConfigError

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
STEPS = "[{Decode: {}}, {NormalizeImage: {mean: [0, 0, 0], std: [1, 1, 1]}}, {Permute: {}}]"
SMALL = "[{Decode: {}}, {Resize: {target_size: [32, 32], keep_ratio: false}}, {NormalizeImage: {}}, {Permute: {}}]"
# x, y of objects of 6 x 6 pixels: inside of slices of 64 pixels, on their borders, where four of them meet.
PLACES = [(10, 10), (60, 20), (100, 61), (61, 61), (140, 110)]


class Bright(nn.Layer):
    """Finds bright areas of at least 30 pixels; larger ones score higher."""

    class_names = None

    def predict(self, batch: dict[str, Any]) -> dict[str, Any]:
        found = [self._rows(image) for image in batch["image"].numpy()]
        return {
            "bbox": paddle.to_tensor(np.concatenate(found)),
            "bbox_num": paddle.to_tensor(np.int32([len(rows) for rows in found])),
        }

    @staticmethod
    def _rows(image: np.ndarray) -> np.ndarray:
        count, _, stats, _ = cv2.connectedComponentsWithStats((image[0] > 0.5).astype(np.uint8))
        rows = [[0, 0.5 + area / 100, x, y, x + w, y + h] for x, y, w, h, area in stats[1:count] if area >= 12]
        return np.float32(rows).reshape(-1, 6)


@pytest.fixture
def small_objects(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """A data set of one picture with small objects, and a detector that finds them."""
    picture = np.zeros((120, 150, 3), np.uint8)
    for x, y in PLACES:
        picture[y : y + 6, x : x + 6] = 255
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    boxes = [
        {"id": i, "image_id": 1, "category_id": 5, "bbox": [x, y, 6, 6], "area": 36, "iscrowd": 0}
        for i, (x, y) in enumerate(PLACES, 1)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 120, "width": 150}],
        "categories": [{"id": 5, "name": "dot"}],
        "annotations": boxes,
    }
    (tmp_path / "dots.json").write_text(json.dumps(content))
    monkeypatch.setattr(evaluation, "trained_detector", lambda cfg: Bright())

    def load(kind: str, steps: str = STEPS, size: str = "[64, 64]") -> Config:
        data = f"{{name: {kind}, dataset_dir: {tmp_path}, image_dir: '', anno_path: dots.json"
        sliced = f", sliced_size: {size}, overlap_ratio: [0.25, 0.25]" if kind == "SlicedCOCODataSet" else ""
        overrides = [f"EvalDataset={data}{sliced}}}", f"EvalReader.sample_transforms={steps}", "num_classes=1"]
        return load_config(root / CONFIG, [*overrides, "EvalReader.batch_size=4", "worker_num=0", "use_gpu=false"])

    return load


def test_small_objects_on_the_borders_of_slices(small_objects: Callable[..., Config], tmp_path: Path) -> None:
    cfg = small_objects("COCODataSet")
    figures = evaluate_config(cfg, output_dir=tmp_path / "sliced", slicing=Slicing(size=(64, 64)))
    assert figures["AP"] == pytest.approx(1)
    found = json.loads((tmp_path / "sliced" / "bbox.json").read_text())
    assert sorted(tuple(row["bbox"]) for row in found) == sorted((x, y, 6, 6) for x, y in PLACES)
    assert {(row["image_id"], row["category_id"]) for row in found} == {(1, 5)}


def test_flags_win_over_the_slices_of_the_data_set(
    small_objects: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = small_objects("SlicedCOCODataSet")
    seen: list[Slicing | None] = []
    monkeypatch.setattr("ppkd.experiment.evaluate_config", lambda cfg, **options: seen.append(options["slicing"]))
    monkeypatch.setattr("ppkd.cli.flags.load_detector", lambda args: cfg)
    for given in ([], ["--slice_infer"], ["--slice_infer", "--slice_size", "32"]):
        eval.main(eval.parser().parse_args(["-c", "x", *given]))
    assert seen == [None, Slicing(size=(64, 64)), Slicing(size=(32, 32))]


def test_without_the_flag_the_pictures_of_sliced_data_are_whole(
    small_objects: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="ppkd"):
        figures = evaluate_config(small_objects("SlicedCOCODataSet", SMALL), output_dir=tmp_path / "whole")
    assert figures["AP"] == 0, "at 32 pixels nothing is left of them"
    assert "cut into slices by `ppkd eval --slice_infer` alone" in caplog.text


def test_slices_that_are_none(small_objects: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match=r"SlicedCOCODataSet.sliced_size is \[0, 64\], expected height and width"):
        evaluate_config(small_objects("SlicedCOCODataSet", size="[0, 64]"))
