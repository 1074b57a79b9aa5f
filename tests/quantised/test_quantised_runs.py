"""A run with 8-bit numbers: taught, saved as a plain student, resumed to the bit, and exported with its ranges."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from narrow import run_of_seconds

from ppkd.config import load_config
from ppkd.config.value import freeze
from ppkd.experiment import train
from ppkd.experiment.experiment import Experiment
from ppkd.models import build_detector
from ppkd.models.quantised.settings import TrainedQuantisation
from ppkd.utils.errors import ConfigError
from ppkd.utils.serialization import read_pickle, read_weights

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"

pytestmark = pytest.mark.usefixtures("logger_as_before")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """``-o`` of a run of seconds."""
    return run_of_seconds(tmp_path_factory.mktemp("shapes"), epochs=2)


@pytest.fixture(scope="module")
def taught(root, settings, tmp_path_factory):
    """The folder of a quantised run with a teacher, its ``-o`` and its slim file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        teacher = train(load_config(CONFIG, [*settings, "epoch=1", f"save_dir={tmp_path_factory.mktemp('t')}"]))
        options = [*settings, f"save_dir={tmp_path_factory.mktemp('q')}", f"pretrain_weights={teacher}/model_final"]
        slim = load_config("slim/distill/yolov3_l2.yml", ["slim=DistillQAT", f"teacher={teacher}", "QAT.batches=1"])
        return train(load_config(CONFIG, options), slim), options, slim


def ranges_in(folder, name):
    adapters = read_pickle(folder / f"{name}.pdstates")["adapters"]
    return {key: value for key, value in adapters.items() if key.startswith("ranges.")}


def test_the_saved_student_is_plain_and_its_ranges_lie_beside_it(root, taught, monkeypatch):
    monkeypatch.chdir(root)
    folder, options, _ = taught
    weights = read_weights(folder / "model_final.pdparams")
    assert weights.keys() == build_detector(load_config(CONFIG, options)).state_dict().keys()
    ranges = ranges_in(folder, "model_final")
    assert len(ranges) == 2 * (50 + 21)
    assert all(ranges[key] > ranges[key.replace(".high", ".low")] for key in ranges if key.endswith(".high"))
    assert any(not np.array_equal(value, ranges[key]) for key, value in ranges_in(folder, "0").items())


def test_a_resumed_run_ends_with_the_same_bits(root, taught, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    folder, options, slim = taught
    again = train(load_config(CONFIG, [*options, f"save_dir={tmp_path}"]), slim, resume=folder / "0")
    both = (folder, again)
    one, two = ({**read_weights(each / "model_final.pdparams"), **ranges_in(each, "model_final")} for each in both)
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[key], two[key]) for key in one)


def test_to_static_is_refused(root, taught, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    _, options, slim = taught
    with pytest.raises(ConfigError, match="--to_static: a student that is quantised"):
        train(load_config(CONFIG, [*options, f"save_dir={tmp_path}"]), slim, to_static=True)


@pytest.mark.slow
def test_the_run_is_exported_with_its_ranges(root, taught, tmp_path, monkeypatch, caplog):
    pytest.importorskip("ml_dtypes", reason="onnxruntime.quantization needs ml_dtypes")
    import onnx

    from ppkd.deploy.int8.export import export_trained_int8

    monkeypatch.chdir(root)
    monkeypatch.setattr(logging.getLogger("ppkd"), "propagate", True)
    folder, options, slim = taught
    cfg = load_config(CONFIG, [*options, f"weights={folder}/model_final", "filename=small"])
    file = export_trained_int8(cfg, slim, tmp_path, outputs=None, opset=16, picture=None)
    assert file == tmp_path / "small_int8" / "model.onnx"
    assert "50 convolutions are quantised with the ranges that were trained" in caplog.text
    assert "int8 on EvalDataset: " in caplog.text
    numbers = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(str(file)).graph.initializer}
    ranges = ranges_in(folder, "model_final")
    high, low = (ranges[f"ranges.backbone/conv1/_conv/input.{end}"] for end in ("high", "low"))
    scale = numbers["image/backbone/conv1/_conv/input_scale"]
    assert scale == np.float32(max(high, 0) - min(low, 0)) / np.float32(255)


def test_paddledetections_file_sets_the_run_unless_o_does(root, monkeypatch):
    monkeypatch.chdir(root)
    theirs = freeze(
        {
            "slim": "QAT",
            "pretrain_weights": "theirs",
            "QAT": {"quant_config": {"moving_rate": 0.99, "weight_bits": 8, "window_size": 10000}, "print_model": True},
            "epoch": 30,
            "TrainReader": {"batch_size": 3},
            "LearningRate": {"base_lr": 0.001},
        }
    )
    parsed = Experiment.parse(load_config(CONFIG, ["TrainReader.batch_size=5"]), theirs)
    assert parsed.slim.quantisation == TrainedQuantisation(moving_rate=0.99)
    assert (parsed.runtime.epoch, parsed.runtime.pretrain_weights) == (30, "theirs")
    assert parsed.config.at("TrainReader.batch_size") == 5
    assert parsed.config.at("LearningRate.base_lr") == 0.001
    assert parsed.config.name.startswith("yolov3_mobilenet_v1")


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"moving_rat": 0.9}, r"QAT\.moving_rat is not a setting of QAT; did you mean 'moving_rate'"),
        ({"moving_rate": 1.0}, r"QAT\.moving_rate is 1\.0, expected at least 0 and below 1"),
        ({"batches": 0}, r"QAT\.batches is 0, expected at least 1"),
        ({"quant_config": {"weight_bits": 4}}, r"QAT\.quant_config\.weight_bits is 4: what ppkd does is 8"),
        ({"quant_config": {"magic": 4}}, r"QAT\.quant_config\.magic is not a setting"),
        ({"quant_config": 3}, r"QAT\.quant_config must be a mapping"),
        (3, r"QAT must be a mapping"),
    ],
)
def test_wrong_settings_are_named(block, says):
    with pytest.raises(ConfigError, match=says) as caught:
        TrainedQuantisation.of(freeze({"slim": "QAT", "QAT": block}))
    assert "\n" not in str(caught.value)
