"""The INT8 file of a student trained with 8 bits computes, convolution by convolution, what the student computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import paddle
import pytest
from paddle import nn
from settled import small

from ppkd.models.layers.rep_vgg import merged
from ppkd.models.quantised.student import all_layers, measure, quantise
from ppkd.models.quantised.units import units

FLIPPED = 0.02
"""The share of a layer's numbers that may be rounded to the next step: the INT8 model rounds the bias, too."""
SIZE = 64


def tensors_of(model: onnx.ModelProto, node: onnx.NodeProto) -> tuple[str, str]:
    """What convolution ``node`` gets before it is quantised, or as another gives it, and what it gives, quantised."""
    made = {name: each for each in model.graph.node for name in each.output}
    source = made[made[node.input[0]].input[0]].input[0]
    (quantised,) = (each for each in model.graph.node if node.output[0] in each.input)
    (result,) = (each for each in model.graph.node if quantised.output[0] in each.input)
    return source, result.output[0]


def computed(model: onnx.ModelProto, image: np.ndarray, names: set[str]) -> Mapping[str, np.ndarray]:
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    wanted = sorted(names)
    return dict(zip(wanted, session.run(wanted, {"image": image}), strict=True))


@pytest.fixture
def exported(tmp_path: Path) -> Any:
    pytest.importorskip("ml_dtypes", reason="onnxruntime.quantization needs ml_dtypes")
    from ppkd.deploy.int8.graph import prepare
    from ppkd.deploy.int8.trained import Trained, plain_name, write_trained
    from ppkd.deploy.to_onnx.export import export_onnx
    from ppkd.models.quantised.ranges import scale_of

    def make(name: str, image: np.ndarray) -> tuple[Any, ...]:
        cfg, detector = small(name)
        shipped = merged(detector)
        found = units(shipped)
        layers = {key.removesuffix(".weight"): plain_name(t.name) for key, t in shipped.state_dict().items()}
        file = export_onnx(shipped, cfg, tmp_path, outputs="raw")
        ranges = quantise(detector, rate=0.9)
        batch = {"image": paddle.to_tensor(image), "im_shape": paddle.full([1, 2], float(SIZE))}
        measure(detector, ranges, [{**batch, "scale_factor": paddle.ones([1, 2])}])
        scales = {}
        for key, each in ranges.items():
            scale, zero = scale_of(each.low, each.high)
            scales[key] = (scale.numpy().reshape(()), zero.numpy().astype(np.uint8).reshape(()))
        trained = Trained({layers[unit.conv]: unit for unit in found}, scales)
        nodes = write_trained(prepare(file, tmp_path / "prepared.onnx"), trained, tmp_path / "int8.onnx")
        return detector, trained, nodes, onnx.load(str(tmp_path / "int8.onnx"))

    return make


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("YOLOv3", 50), ("PPYOLOE", 83), ("RetinaNet", 59)])
def test_every_convolution_computes_what_the_student_computes(name: str, count: int, exported: Any) -> None:
    from ppkd.deploy.int8.trained import plain_name

    image = np.random.default_rng(0).normal(0, 1, (1, 3, SIZE, SIZE)).astype(np.float32)
    detector, trained, nodes, model = exported(name, image)
    assert len(nodes) == count
    convolutions = {node.name: node for node in model.graph.node if node.op_type == "Conv"}
    assert {*convolutions} == {*nodes}
    tensors = {each: tensors_of(model, convolutions[each]) for each in nodes}
    made = {output: node for node in model.graph.node for output in node.output}
    found = computed(model, image, {one for pair in tensors.values() for one in pair})
    layers = dict(all_layers(detector))
    for each, (source, result) in tensors.items():
        weight = plain_name(made[convolutions[each].input[1]].input[0].removesuffix("_quantized"))
        unit = trained.units[weight]
        x = found[source]
        if unit.source is None:
            scale, zero = (float(number) for number in scale_in(model, convolutions[each].input[0]))
            x = (np.clip(np.round(x / scale) + zero, 0, 255) - zero) * scale
        expected = through(layers, unit, paddle.to_tensor(x.astype(np.float32)))
        steps = np.abs(expected - found[result]) / trained.scales[unit.result][0]
        assert steps.max() < 1.01
        assert (steps > 0.5).mean() < FLIPPED, unit.conv


def scale_in(model: onnx.ModelProto, tensor: str) -> tuple[np.ndarray, ...]:
    """Scale and zero of the DequantizeLinear that gives ``tensor``."""
    (node,) = (each for each in model.graph.node if tensor in each.output)
    numbers = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    return tuple(numbers[name] for name in node.input[1:])


@paddle.no_grad()
def through(layers: Mapping[str, nn.Layer], unit: Any, x: paddle.Tensor) -> np.ndarray:
    """What the student's ``unit`` makes of ``x``, before its activation."""
    conv = layers.get(unit.conv)
    if conv is None:
        block = layers[unit.conv.removesuffix(".conv")]
        block.activated = lambda each: each
        return block(x).numpy()
    y = conv(x)
    return (layers[unit.norm](y) if unit.norm else y).numpy()


def test_a_weight_is_known_by_paddles_name_whatever_became_of_it() -> None:
    pytest.importorskip("ml_dtypes", reason="onnxruntime.quantization needs ml_dtypes")
    from ppkd.deploy.int8.trained import plain_name

    for name in ("conv2d_47.w_0", "conv2d_47.w_0_deepcopy_2", "ConvBnFusion_W_conv2d_47.w_0_deepcopy_229_token_11"):
        assert plain_name(name) == "conv2d_47.w_0"


def test_ranges_that_are_not_there_are_named(tmp_path: Path) -> None:
    pytest.importorskip("ml_dtypes", reason="onnxruntime.quantization needs ml_dtypes")
    from ppkd.deploy.int8.trained import Trained
    from ppkd.utils.errors import WeightsError
    from ppkd.utils.serialization import write_state

    detector = small("YOLOv3")[1]
    with pytest.raises(WeightsError, match=r"a\.pdstates: not found; the ranges that .*a\.pdparams was trained with"):
        Trained.of(detector, str(tmp_path / "a.pdparams"))
    write_state(tmp_path / "a.pdstates", {"adapters": {}})
    with pytest.raises(WeightsError, match=r"no range .*: these weights were not trained with 8-bit numbers"):
        Trained.of(detector, str(tmp_path / "a"))
