"""Class names come with the weights and are never replaced by others in silence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from ppkd.data.datasets.labels import COCO, COCO_IDS
from ppkd.data.shapes import draw_shapes
from ppkd.deploy.export import export_model, export_trained
from ppkd.deploy.infer import infer
from ppkd.deploy.labels import class_labels
from ppkd.experiment import evaluate_config
from ppkd.models.weights import load_weights
from ppkd.utils.class_names import write_class_names
from ppkd.utils.errors import ConfigError
from ppkd.utils.serialization import write_weights

SHAPES = ["circle", "square", "triangle", "star"]
UNNAMED = ("TestDataset.label_list=null", "TestDataset.anno_path=absent.json")


@pytest.fixture
def weights(detector: Any, tmp_path: Path) -> Path:
    """The small detector's weights, trained on the drawn shapes."""
    file = tmp_path / "trained.pdparams"
    write_weights(file, detector.state_dict())
    write_class_names(file, SHAPES)
    return file


def test_without_annotations_inference_has_the_names_of_the_weights(
    config: Callable, weights: Path, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8))
    infer(config(f"weights={weights}", *UNNAMED), [tmp_path / "a.png"], tmp_path / "out", save_results=True)
    rows = json.loads((tmp_path / "out/bbox.json").read_text(encoding="utf-8"))
    assert rows
    assert {(row["category"], row["category_id"]) for row in rows} <= {(name, i + 1) for i, name in enumerate(SHAPES)}


def test_an_exported_model_has_the_names_of_the_weights(config: Callable, weights: Path, tmp_path: Path) -> None:
    folder = export_trained(config(f"weights={weights}", "filename=e", *UNNAMED), tmp_path)
    assert yaml.safe_load((folder / "infer_cfg.yml").read_text(encoding="utf-8"))["label_list"] == SHAPES


def test_other_names_are_refused_wherever_they_come_from(config: Callable, weights: Path, tmp_path: Path) -> None:
    cfg = config(f"weights={weights}")
    said = re.escape(f"disc, 三角, square, cross, but {weights} was trained on circle, square, triangle, star")
    with pytest.raises(ConfigError, match=f"TestDataset has the classes {said}"):
        export_trained(cfg, tmp_path)
    with pytest.raises(ConfigError, match=f"TestDataset has the classes {said}"):
        infer(cfg, [tmp_path / "a.png"], tmp_path)


def test_evaluation_refuses_another_order_of_classes(config: Callable, weights: Path, tmp_path: Path) -> None:
    shapes = draw_shapes(tmp_path / "shapes", images_train=1, images_val=2, size=64, seed=1)
    cfg = config(f"weights={weights}", f"EvalDataset.dataset_dir={shapes}", "worker_num=0")
    evaluate_config(cfg, output_dir=tmp_path)
    write_class_names(weights, SHAPES[::-1])
    with pytest.raises(ConfigError, match=r"EvalDataset has the classes circle.* was trained on star, triangle"):
        evaluate_config(cfg, output_dir=tmp_path)


def test_weights_that_tell_no_names_leave_them_to_the_configuration(
    config: Callable, weights: Path, detector: Any, tmp_path: Path
) -> None:
    write_weights(tmp_path / "bare.pdparams", detector.state_dict())
    folder = export_trained(config(f"weights={tmp_path / 'bare'}", "filename=e"), tmp_path)
    labels = yaml.safe_load((folder / "infer_cfg.yml").read_text(encoding="utf-8"))["label_list"]
    assert labels == ["disc", "三角", "square", "cross"]


def test_loaded_weights_name_the_classes_of_a_detector(config: Callable, weights: Path, tmp_path: Path) -> None:
    from ppkd.models import build_detector

    model = build_detector(config())
    assert model.class_names is None
    load_weights(model, weights)
    assert model.class_names == tuple(SHAPES)
    folder = export_model(model, config(*UNNAMED, "filename=e"), tmp_path)
    assert yaml.safe_load((folder / "infer_cfg.yml").read_text(encoding="utf-8"))["label_list"] == SHAPES


def test_cocos_names_keep_cocos_numbers(config: Callable) -> None:
    labels = class_labels(config("num_classes=80", *UNNAMED), COCO)
    assert labels.category_ids == COCO_IDS
