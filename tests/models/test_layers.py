"""The layers that are written for deployment compute what the usual ones compute."""

from __future__ import annotations

import paddle
import pytest
from paddle import nn
from paddle.nn import functional as F

from ppkd.models.layers.activation import leaky_relu
from ppkd.models.layers.conv_norm_act import ConvBNLeaky, ConvNormAct
from ppkd.models.layers.folding import folded
from ppkd.models.layers.norm import batch_norm
from ppkd.models.layers.upsample import upsample2x


def test_upsample_is_nearest_neighbour_bit_for_bit():
    x = paddle.randn([2, 5, 3, 7])
    assert (upsample2x(x) == F.interpolate(x, scale_factor=2.0, mode="nearest")).all()


def test_upsample_gathers_the_gradient_of_four_pixels():
    x = paddle.randn([1, 2, 2, 3])
    x.stop_gradient = False
    weight = paddle.randn([1, 2, 4, 6])
    (upsample2x(x) * weight).sum().backward()
    expected = weight.reshape([1, 2, 2, 2, 3, 2]).sum(axis=[3, 5])
    assert paddle.allclose(x.grad, expected, atol=1e-6)


def test_leaky_relu_is_the_same_in_an_exported_program(tmp_path):
    class Activation(paddle.nn.Layer):
        def forward(self, x):
            return leaky_relu(x, 0.1)

    paddle.jit.save(Activation(), str(tmp_path / "m"), input_spec=[paddle.static.InputSpec([None, 4], name="x")])
    x = paddle.randn([50, 4])
    assert (paddle.jit.load(str(tmp_path / "m"))(x) == leaky_relu(x, 0.1)).all()
    assert (leaky_relu(x, 0.1) == F.leaky_relu(x, 0.1)).all()
    assert ".leaky_relu" not in (tmp_path / "m.json").read_text()


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_norm_neither_trains_nor_drifts(frozen):
    norm = batch_norm(3, frozen=frozen)
    norm.train()
    norm(paddle.randn([4, 3, 5, 5]) + 2)
    assert norm.weight.stop_gradient is frozen
    assert norm.bias.stop_gradient is frozen
    assert (norm._mean == 0).all().item() is frozen


@pytest.mark.parametrize("bias", [False, None])
def test_a_folded_convolution_computes_the_same_in_evaluation_mode(bias):
    conv, norm = nn.Conv2D(3, 5, 3, bias_attr=bias), nn.BatchNorm2D(5)
    for tensor in (norm._mean, norm._variance, norm.weight, norm.bias):
        tensor.set_value(paddle.rand([5]) + 0.5)
    norm.eval()
    x = paddle.randn([2, 3, 6, 6])
    weight, shift = folded(conv, norm)
    assert paddle.allclose(F.conv2d(x, weight, shift), norm(conv(x)), atol=1e-5)


def test_a_unit_has_the_names_of_published_weights():
    unit = ConvNormAct(3, 4, 3, names=("_conv", "_batch_norm"), norm=batch_norm(4), stride=2, act="relu")
    norm = [f"_batch_norm.{name}" for name in ("weight", "bias", "_mean", "_variance")]
    assert list(unit.state_dict()) == ["_conv.weight", *norm]
    x = paddle.randn([1, 3, 7, 5])
    assert unit(x).shape == [1, 4, 4, 3]
    assert (unit(x) == F.relu(unit._batch_norm(unit._conv(x)))).all()
    assert [name for name, _ in ConvBNLeaky(3, 4, 1).named_children()] == ["conv", "batch_norm"]


def test_a_unit_without_norm_and_activation_is_its_convolution():
    unit = ConvNormAct(3, 4, 1, names=("conv", "norm"), norm=None)
    x = paddle.randn([1, 3, 2, 2])
    assert (unit(x) == unit.conv(x)).all()
    assert list(unit.state_dict()) == ["conv.weight"]
