"""Training and evaluation data must name the same classes in the same order, and the trained model knows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ppkd.config import load_config
from ppkd.data.shapes import CLASSES, draw_shapes
from ppkd.experiment import Experiment, TrainOptions
from ppkd.experiment.assembly import assemble
from ppkd.utils.errors import ConfigError

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"


@pytest.fixture
def cfg(root, tmp_path):
    shapes = draw_shapes(tmp_path / "shapes", images_train=4, images_val=2, size=64, seed=1)
    data = [f"{name}Dataset.dataset_dir={shapes}" for name in ("Train", "Eval")]
    return load_config(root / CONFIG, [*data, f"save_dir={tmp_path}", "TrainReader.batch_size=2", "worker_num=0"])


def test_the_model_knows_the_classes_of_its_training_set(cfg):
    assert (
        assemble(Experiment.parse(cfg, options=TrainOptions(evaluate=True))).trainer.model.deployable().class_names
        == CLASSES
    )


def test_an_evaluation_set_of_another_order_is_refused_before_the_first_step(cfg):
    path = Path(cfg.at("EvalDataset.dataset_dir"), cfg.at("EvalDataset.anno_path"))
    content = json.loads(path.read_text())
    content["categories"].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"EvalDataset has the classes star, .*, but TrainDataset has circle, "):
        assemble(Experiment.parse(cfg, options=TrainOptions(evaluate=True)))
