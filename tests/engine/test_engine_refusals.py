"""What is wrong in a run is said before its data are read, or before the work whose result would be lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.deploy.infer import infer
from ppkd.experiment import evaluate_config, train
from ppkd.models import build_detector
from ppkd.models.weights import load_weights
from ppkd.utils.errors import ConfigError, PPKDError, WeightsError
from ppkd.utils.serialization import read_weights, write_weights

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
SLIM = "slim/distill/yolov3_l2.yml"


@pytest.fixture
def nowhere(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """``-o`` of a run whose data set is not there, so that any other message came first; in the clone."""
    monkeypatch.chdir(root)
    return ["TrainDataset.dataset_dir=/nowhere", f"save_dir={tmp_path}"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "LearningRate.base_lr=.nan",
            r"optimizer_8e\.yml:4: LearningRate\.base_lr is nan, expected a number from 0 on",
        ),
        ("LearningRate.base_lr=-0.1", r"base_lr is -0\.1"),
        ("LearningRate.schedulers=[]", "expected one decay"),
        ("LearningRate.schedulers.0.milestones=[1]", "CosineDecay has no|milestones is not a setting"),
        ("OptimizerBuilder.optimizer.type=Adan", r"OptimizerBuilder\.optimizer\.type: no optimizer 'Adan'; did you"),
        ("OptimizerBuilder.optimizer.beta2=1.5", r"AdamW refuses .*beta2"),
        ("OptimizerBuilder.optimizer.beta2=.inf", r"optimizer\.beta2: expected a number from 0 on"),
        ("OptimizerBuilder.clip_grad_by_norm=-1", r"clip_grad_by_norm is -1\.0, expected a positive number"),
        ("TrainReader.sample_transforms.2.Resize.target_size=[0, 4]", "target_size is"),
        ("TrainReader.batch_transforms=[{Decode: {}}]", r"move it to TrainReader\.sample_transforms"),
    ],
)
def test_wrong_settings_of_a_run_are_found_before_its_data(nowhere: list[str], override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(load_config(CONFIG, [*nowhere, override]))


def test_an_unknown_loss_lists_those_there_are(nowhere: list[str]) -> None:
    slim = load_config(SLIM, ["losses.l2.type=Zzz", f"teacher.config={CONFIG}", "teacher.weights=x"])
    with pytest.raises(
        ConfigError, match=r"losses\.l2\.type: Zzz is not a distillation loss; there are .*CWD.*OutputL2"
    ):
        train(load_config(CONFIG, nowhere), slim)


def test_a_folder_that_cannot_be_written_is_found_before_the_work(nowhere: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wrong, message = tmp_path / "file" / "run", r"cannot write into the folder .*file.*Not a directory"
    with pytest.raises(ConfigError, match=message):
        train(load_config(CONFIG, [*nowhere, f"save_dir={wrong}"]))
    draw_shapes(tmp_path, images_train=1, images_val=1, size=64, seed=1)
    cfg = load_config(CONFIG, [f"EvalDataset.dataset_dir={tmp_path}", "weights=absent"])
    with pytest.raises(ConfigError, match=message):
        evaluate_config(cfg, output_dir=wrong)
    with pytest.raises(ConfigError, match=message):
        infer(cfg, [tmp_path / "val" / "000000.jpg"], wrong, save_results=True)


def test_an_evaluation_set_without_boxes_or_images_is_an_error(nowhere: list[str], tmp_path: Path) -> None:
    draw_shapes(tmp_path, images_train=1, images_val=2, size=64, seed=1)
    path = tmp_path / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    cfg = load_config(CONFIG, [f"EvalDataset.dataset_dir={tmp_path}", "weights=absent"])
    for key, message in (("annotations", "no annotated box to evaluate against"), ("images", "lists no image")):
        path.write_text(json.dumps({**content, key: []}))
        with pytest.raises(PPKDError, match=message):
            evaluate_config(cfg, output_dir=tmp_path)


def test_weights_with_nan_are_not_loaded(nowhere: list[str], tmp_path: Path) -> None:
    detector = build_detector(load_config(CONFIG))
    state = {name: tensor.numpy() for name, tensor in detector.state_dict().items()}
    first = next(name for name, array in state.items() if array.dtype == np.float32)
    write_weights(tmp_path / "m.pdparams", {**state, first: np.full_like(state[first], np.nan)})
    with pytest.raises(WeightsError, match=rf"m\.pdparams: 1 tensors hold values that are not finite.*{first}"):
        load_weights(detector, tmp_path / "m.pdparams")
    np.testing.assert_array_equal(detector.state_dict()[first].numpy(), state[first])
    assert np.isnan(read_weights(tmp_path / "m.pdparams")[first]).all()
