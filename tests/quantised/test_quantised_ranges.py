"""Rounding as ONNX rounds, gradients through it, and ranges that follow what passes."""

from __future__ import annotations

import numpy as np
import onnxruntime
import paddle
import pytest
from onnx import helper, numpy_helper

from ppkd.models.quantised.ranges import Range, rounded_weight, scale_of


def ranged(low: float, high: float, *, rate: float = 0.9, above_zero: bool = False) -> Range:
    made = Range(rate=rate, above_zero=above_zero)
    paddle.assign(paddle.to_tensor(low), made.low)
    paddle.assign(paddle.to_tensor(high), made.high)
    return made


def as_onnx(x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """What QuantizeLinear and DequantizeLinear make of ``x``."""
    numbers = [numpy_helper.from_array(scale, "s"), numpy_helper.from_array(zero.astype(np.uint8), "z")]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, 1, [None]) for name in "xy"]
    graph = helper.make_graph(nodes, "q", values[:1], values[1:], numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.parametrize(("low", "high"), [(-1.3, 2.7), (0.0, 6.1), (-3.0, 0.0), (0.4, 2.0), (0.0, 0.0)])
def test_numbers_are_those_of_onnx(low: float, high: float) -> None:
    made = ranged(low, high)
    x = np.random.default_rng(0).normal(0, 2, 5000).astype(np.float32)
    scale, zero = (each.numpy() for each in scale_of(made.low, made.high))
    found = made(paddle.to_tensor(x), moves=False).numpy()
    np.testing.assert_allclose(found, as_onnx(x, scale, zero), rtol=0, atol=1e-6)
    assert len(np.unique(np.round(found / scale))) <= 256


def test_gradients_pass_the_rounding_and_end_outside() -> None:
    x = paddle.to_tensor([-2.0, -0.3, 0.4, 3.0], stop_gradient=False)
    ranged(-1.0, 1.0)(x, moves=False).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_a_range_follows_batches_in_training_alone() -> None:
    made = ranged(-1.0, 1.0, rate=0.9)
    x = paddle.to_tensor([-2.0, 3.0])
    made(x, moves=False)
    assert (made.low.item(), made.high.item()) == (-1.0, 1.0)
    made.settle()
    assert (made.low.item(), made.high.item()) == (-1.0, 1.0)
    made(x, moves=True)
    made(x / 100, moves=True)
    made.settle()
    assert (made.low.item(), made.high.item()) == (pytest.approx(-1.1), pytest.approx(1.2))
    made(10 * x, moves=True)
    made.begin()
    made.settle()
    assert made.high.item() == pytest.approx(1.2)
    behind_relu = ranged(0.0, 1.0, above_zero=True)
    behind_relu(x, moves=True)
    behind_relu.settle()
    assert behind_relu.low.item() == 0
    made.measuring = True
    assert made(x, moves=False).tolist() == [-2.0, 3.0]
    made.settle()
    assert (made.low.item(), made.high.item()) == (-2.0, 3.0)


def test_weights_are_rounded_in_every_channel_by_its_largest() -> None:
    weight = paddle.to_tensor(np.random.default_rng(0).normal(0, 1, (3, 4, 3, 3)).astype(np.float32))
    weight = paddle.concat([weight, 1000 * weight[:1], 0 * weight[:1]])
    weight.stop_gradient = False
    found = rounded_weight(weight)
    error = (found - weight).abs().flatten(1).max(axis=1)
    largest = weight.abs().flatten(1).max(axis=1)
    assert (error <= largest / 254 * 1.001).all().item()
    np.testing.assert_allclose(found.abs().flatten(1).max(axis=1).numpy(), largest.numpy(), rtol=1e-6)
    np.testing.assert_allclose((1000 * found[0]).numpy(), found[3].numpy(), rtol=1e-4)
    found.sum().backward()
    assert (weight.grad == 1).all().item()
