"""INT8 files: close to float, sensitive layers left out, run by every ONNX engine, and refusals in one line."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import paddle
import pytest
from onnx import helper, numpy_helper
from paddle import nn
from settled import settle, small, small_config

from ppkd.cli import export as export_command
from ppkd.config import Config, load_config
from ppkd.config.value import freeze
from ppkd.data.shapes import draw_shapes
from ppkd.deploy.description import Description
from ppkd.deploy.int8.sensitive import choose
from ppkd.deploy.int8.settings import Quantisation, quantisation
from ppkd.deploy.onnx_file import read_metadata
from ppkd.deploy.onnx_predictor import OnnxPredictor
from ppkd.utils.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = Quantisation(batches=3, batch_size=4, most_float=0)
RANDOM_WEIGHTS = 0.5
"""Of a head's standard deviation: what all layers together may be away from float, in a detector without training."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes"), images_train=12, images_val=4, size=160, seed=1)


def configured(data: Path, *overrides: str) -> Config:
    folders = [f"{key}.dataset_dir={data}" for key in ("TrainDataset", "EvalDataset", "TestDataset")]
    return small_config("YOLOv3", *folders, *overrides)


@pytest.fixture(scope="module")
def exported(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A float file, its INT8 form, and what was logged; tests must not change them."""
    pytest.importorskip("ml_dtypes", reason="onnxruntime.quantization needs ml_dtypes")
    from ppkd.deploy.int8 import export
    from ppkd.deploy.to_onnx.export import export_onnx

    folder = tmp_path_factory.mktemp("int8")
    cfg, model = configured(data), calm(small("YOLOv3")[1])
    original = export_onnx(model, cfg, folder)
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "export_onnx", lambda *_, **__: original)
        patch.setattr(export._log, "info", lambda text, *values: said.append(text % values))
        made = export.export_int8(model, cfg, folder, SETTINGS)
    return original, made, "\n".join(said)


@paddle.no_grad()
def calm(model: nn.Layer) -> nn.Layer:
    """Activations mostly above zero: fifty random layers amplify any rounding, that of the picture too, else."""
    for layer in model.sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            layer.bias.set_value(paddle.full_like(layer.bias, 2.0))
    return settle(model)


def quantiser(file: Path, data: Path, work: Path) -> Any:
    from ppkd.deploy.int8.calibration import calibration_batches
    from ppkd.deploy.int8.graph import body, prepare
    from ppkd.deploy.int8.quantise import Quantiser

    batches = calibration_batches(
        configured(data), Description.of(read_metadata(file)[0], str(file)), Quantisation(batches=2, batch_size=2)
    )
    part = body(prepare(file, work / "prepared.onnx"))
    return Quantiser(work / "prepared.onnx", part, batches=batches, settings=SETTINGS, work=work)


@pytest.mark.slow
def test_heads_are_near_float_and_all_convolutions_are_quantised(
    exported: tuple[Path, Path, str], data: Path, tmp_path: Path
) -> None:
    made = quantiser(exported[0], data, tmp_path)
    assert 0 < made.difference(made.whole.candidates) < RANDOM_WEIGHTS
    assert made.difference([]) < 1e-4
    assert len(made.whole.heads) == 3
    graph = onnx.load(str(exported[1])).graph
    dequantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 50
    assert all({*node.input[:2]} <= dequantised for node in convolutions)
    suppression = [node for node in graph.node if node.op_type == "NonMaxSuppression"]
    assert not dequantised.intersection(suppression[0].input)


@pytest.mark.slow
def test_the_file_says_that_it_is_int8_and_is_smaller(exported: tuple[Path, Path, str]) -> None:
    original, made, said = exported
    assert made.parent.name == "YOLOv3_int8"
    assert (OnnxPredictor(original).config.precision, OnnxPredictor(made).config.precision) == ("float32", "int8")
    assert made.stat().st_size < 0.5 * original.stat().st_size
    assert (made.parent / "infer.py").is_file()
    assert "float32 on EvalDataset: " in said
    assert "int8 on EvalDataset: " in said
    assert "54 layers are quantised, 0 stay in float (none)" in said


@pytest.mark.slow
def test_engines_agree_on_the_int8_file(exported: tuple[Path, Path, str], data: Path) -> None:
    pictures = sorted((data / "val").glob("*.jpg"))[:2]
    one, two = (OnnxPredictor(exported[1], engine=name).predict(pictures) for name in ("onnxruntime", "openvino"))
    for rows, others in zip(one, two, strict=True):
        assert len(rows) > 10
        scores = [np.sort(each[:, 1])[::-1][:10] for each in (rows, others)]
        np.testing.assert_allclose(*scores, atol=0.05)


def chain(folder: Path, factor: float) -> Path:
    """Four convolutions; one channel between the second and the third is ``factor`` times as large, to no effect."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.3, (8, size, 3, 3)).astype(np.float32) for size in (3, 8, 8, 8)]
    weights[1][0] *= factor
    weights[2][:, 0] /= factor
    nodes, last = [], "image"
    for number, _ in enumerate(weights):
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [last := f"r{number}"]))
    shapes = {name: helper.make_tensor_value_info(name, 1, [None, size, None, None]) for name, size in SIDES.items()}
    tensors = [numpy_helper.from_array(weight, f"w{number}") for number, weight in enumerate(weights)]
    graph = helper.make_graph(nodes[:-1], "chain", [shapes["image"]], [shapes["c3"]], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    onnx.save(model, str(folder / f"{factor}.onnx"))
    return folder / f"{factor}.onnx"


SIDES = {"image": 3, "c3": 8}


def test_layers_made_sensitive_stay_in_float(tmp_path: Path) -> None:
    pytest.importorskip("ml_dtypes", reason="onnxruntime.quantization needs ml_dtypes")
    from ppkd.deploy.int8.graph import body, prepare
    from ppkd.deploy.int8.quantise import Quantiser

    batches = [{"image": np.random.default_rng(1).normal(0, 1, (2, 3, 24, 24)).astype(np.float32)}]
    made = {}
    for factor in (1, 1000):
        work = tmp_path / f"work{factor}"
        work.mkdir()
        part = body(prepare(chain(tmp_path, factor), work / "prepared.onnx"))
        made[factor] = Quantiser(work / "prepared.onnx", part, batches=batches, settings=SETTINGS, work=work)
    layers = made[1].whole.candidates
    assert len(layers) == 4
    assert made[1].difference(layers) < 0.05
    assert choose(layers, made[1].difference, bound=0.05, most=2).left == ()
    choice = choose(layers, made[1000].difference, bound=0.05, most=2)
    assert {*choice.left} == {*layers[1:3]}
    assert choice.before > 5 * choice.after


def test_the_worst_layers_are_left_out_until_the_bound_is_met() -> None:
    errors = {"a": 0.1, "b": 0.5, "c": 0.01, "d": 0.3}

    def difference(nodes: Collection[str]) -> float:
        return sum(errors[name] for name in nodes)

    assert choose([*errors], difference, bound=1.0, most=3).left == ()
    found = choose([*errors], difference, bound=0.2, most=3)
    assert (found.left, found.quantised) == (("b", "d"), ("a", "c"))
    assert (found.before, found.after) == (pytest.approx(0.91), pytest.approx(0.11))
    assert choose([*errors], difference, bound=0.0, most=1).left == ("b",)
    assert choose([*errors], difference, bound=0.0, most=0).left == ()


@pytest.mark.slow
def test_an_unreadable_picture_is_named_and_an_older_export_stays(
    exported: tuple[Path, Path, str], data: Path, tmp_path: Path
) -> None:
    from ppkd.deploy.int8.calibration import calibration_batches

    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    sorted((broken / "train").glob("*.jpg"))[0].write_bytes(b"no picture")
    description = OnnxPredictor(exported[0]).config
    with pytest.raises(DataError, match=r"^calibration: .*000000\.jpg.*; replace it") as caught:
        calibration_batches(configured(broken), description, SETTINGS)
    assert "\n" not in str(caught.value)


def slim(**settings: object) -> Config:
    return freeze({"slim": "PTQ", **settings})


def test_the_shipped_file_and_paddledetections_form() -> None:
    shipped = load_config(str(ROOT / "slim/quant/ptq.yml"))
    assert quantisation(shipped) == Quantisation()
    config = {"activation_quantizer": "HistQuantizer", "upsample_bins": 127, "hist_percent": 0.999}
    theirs = slim(weights="x", PTQ={"ptq_config": config, "quant_batch_num": 10, "fuse": True})
    assert quantisation(theirs, 8) == Quantisation(batches=10, batch_size=8, method="percentile", percentile=99.9)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"quant": {"bathes": 3}}, "quant.bathes is no key .*did you mean 'batches'"),
        ({"quant": {"batches": 0}}, "batches is 0, expected at least 1"),
        ({"quant": {"method": "magic"}}, "'minmax'"),
        ({"quant": {"percentile": 30.0}}, "percentile is 30.0, expected above 50"),
        ({"qaunt": {}}, "qaunt is no key of a file of quantisation; did you mean 'quant'"),
        ({"PTQ": {"quant_batch": 1}}, "PTQ.quant_batch is no key .*did you mean 'quant_batch_num'"),
        ({"PTQ": {"ptq_config": {"activation_quantizer": "Magic"}}}, "activation_quantizer Magic is not known"),
        ({"PTQ": {"ptq_config": {"hist_percent": "x"}}}, "hist_percent is 'x', expected a number"),
        ({"PTQ": {}, "quant": {}}, "give one of them"),
        ({"PTQ": 3}, "PTQ must be a mapping"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        quantisation(slim(**settings))
    assert "\n" not in str(caught.value)


def arguments(*more: str) -> argparse.Namespace:
    given = ["-c", "yolov3_mobilenet_v1_x0.25_160_shapes", "--slim_config", str(ROOT / "slim/quant/ptq.yml"), *more]
    return export_command.parser().parse_args(given)


def test_quantisation_is_for_onnx_and_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"ptq\.yml: quantisation is for --format onnx"):
        export_command.main(arguments())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ml_dtypes" else object())
    with pytest.raises(
        ConfigError, match=r"quantisation needs ml_dtypes, not installed here: pip install 'ppkd\[onnx\]'"
    ):
        export_command.main(arguments("--format", "onnx"))
