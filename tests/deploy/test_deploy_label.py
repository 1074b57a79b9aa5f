"""``ppkd label``: what a detector finds as annotations, ready to train with."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from settled import COMMON, DETECTORS, SHAPES, small

from ppkd.cli.label import command
from ppkd.config import load_config
from ppkd.data import build_dataset
from ppkd.data.shapes import Look, draw_image
from ppkd.deploy.label import label
from ppkd.deploy.open_model import open_model
from ppkd.utils.serialization import write_weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("trained")
    write_weights(folder / "model.pdparams", small("YOLOv3")[1].state_dict())
    return SHAPES / f"{DETECTORS['YOLOv3'][0]}.yml", [*COMMON, f"weights={folder / 'model'}"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more").mkdir()
    for seed, name in enumerate(("one.png", "more/two.png")):
        cv2.imwrite(str(folder / name), draw_image(120, np.random.default_rng(seed), Look.of(0.0))[0])
    return folder


def test_labels_are_a_training_annotation(trained, pictures, tmp_path, capsys) -> None:
    config, options = trained
    target = tmp_path / "new/labels.json"
    arguments = [str(config), "--image_dir", str(pictures), "--output", str(target), "--threshold", "0.7"]
    assert command([*arguments, "-o", *options]) == 0
    assert f"{target}: 2 images" in capsys.readouterr().out
    written = json.loads(target.read_text())
    pipeline, labels = open_model(config, list(options))
    found = pipeline.predict([str(pictures / image["file_name"]) for image in written["images"]])
    kept = [rows[rows[:, 1] >= 0.7] for rows in found]
    assert 0 < len(written["annotations"]) <= sum(map(len, kept)) < sum(map(len, found))
    assert [category["name"] for category in written["categories"]] == list(labels.names)
    assert {category["id"] for category in written["categories"]} == set(labels.category_ids)
    block = f"{{name: COCODataSet, image_dir: '', anno_path: {target}, dataset_dir: {pictures}}}"
    dataset = build_dataset(load_config(str(config), [*options, f"TrainDataset={block}"]), "TrainDataset")
    assert sum(len(annotation.gt_class) for annotation in dataset) == len(written["annotations"])
    for annotation in dataset:
        boxes = annotation.gt_bbox
        assert (boxes >= 0).all() and (boxes <= 120).all() and (boxes[:, 2:] > boxes[:, :2]).all()


class Finds:
    """Detects the same rows in every picture."""

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = np.array(rows, np.float32)

    def prepare(self, path: Path):
        from ppkd.deploy.preprocess import Prepared

        return Prepared(cv2.imread(str(path))[..., ::-1], {})

    def detect(self, prepared):
        from ppkd.deploy.pipeline import Found

        return [Found(self.rows)] * len(prepared)


def test_boxes_end_at_the_picture_and_scores_are_kept(trained, pictures, tmp_path) -> None:
    labels = open_model(trained[0], list(trained[1]))[1]
    rows = [[0, 0.9, -5, 10, 130, 40], [1, 0.4, 1, 1, 9, 9], [2, 0.8, 125, 5, 140, 9]]
    label(Finds(rows), labels, pictures, tmp_path / "labels.json", threshold=0.5)
    found = json.loads((tmp_path / "labels.json").read_text())["annotations"]
    assert [one["bbox"] for one in found] == [[0.0, 10.0, 120.0, 30.0]] * 2
    assert [one["score"] for one in found] == pytest.approx([0.9, 0.9])
    assert [one["category_id"] for one in found] == [labels.category_ids[0]] * 2


def test_what_is_no_model_is_named(tmp_path, pictures, capsys) -> None:
    for named in (tmp_path / "none.yml", tmp_path, tmp_path / "a.onnx"):
        assert command([str(named), "--image_dir", str(pictures), "--output", str(tmp_path / "a.json")]) == 1
        assert f"{named}" in capsys.readouterr().err
