from __future__ import annotations

import math

import numpy as np
import paddle
import pytest
from engine_toy import Student
from paddle import nn

from ppkd.engine.ema import ModelEMA
from ppkd.utils.errors import ConfigError


def walk(decay_type, decay, values):
    layer = nn.Linear(1, 1, bias_attr=False)
    ema = ModelEMA(layer, decay=decay, decay_type=decay_type)
    for value in values:
        layer.weight.set_value(np.full((1, 1), value, "float32"))
        ema.update()
    return ema.weights()["weight"].item()


def expected(decays, values):
    """The weighted mean written out: weight of value i is (1 - d_i) times all later d."""
    weights = [(1 - d) * math.prod(decays[i + 1 :]) for i, d in enumerate(decays)]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


@pytest.mark.parametrize(
    ("decay_type", "decays"),
    [
        ("normal", [0.7, 0.7, 0.7]),
        ("threshold", [1 / 10, 2 / 11, 3 / 12]),
        ("exponential", [0.7 * (1 - math.exp(-(t + 1) / 2000)) for t in range(3)]),
    ],
)
def test_is_the_weighted_mean_of_the_weights_after_each_step(decay_type, decays):
    assert walk(decay_type, 0.7, [1.0, 2.0, 4.0]) == pytest.approx(expected(decays, [1.0, 2.0, 4.0]), rel=1e-6)


def test_threshold_never_exceeds_the_decay():
    assert walk("threshold", 0.2, [1.0, 5.0, 9.0]) == pytest.approx(expected([0.1, 2 / 11, 0.2], [1.0, 5.0, 9.0]))


def test_of_constant_weights_is_that_constant():
    assert walk("normal", 0.9998, [3.0] * 4) == pytest.approx(3.0, rel=1e-6)


def test_buffers_are_averaged_too():
    model = Student()
    ema = ModelEMA(model, decay=0.5, decay_type="normal")
    for value in (1.0, 3.0):
        model.norm._mean.set_value(np.full(4, value, "float32"))
        ema.update()
    assert ema.weights()["norm._mean"] == pytest.approx(np.full(4, 7 / 3))


def test_applied_gives_back_the_very_bits_even_after_an_error():
    model = Student()
    ema = ModelEMA(model)
    ema.update()
    model.conv.weight.set_value(paddle.rand(model.conv.weight.shape))
    own = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    with pytest.raises(RuntimeError), ema.applied():
        assert np.array_equal(model.conv.weight.numpy(), ema.weights()["conv.weight"])
        assert not np.array_equal(model.conv.weight.numpy(), own["conv.weight"])
        raise RuntimeError
    assert all(np.array_equal(tensor.numpy(), own[name]) for name, tensor in model.state_dict().items())


def test_before_the_first_update_the_average_is_the_model():
    model = Student()
    assert np.array_equal(ModelEMA(model).weights()["conv.weight"], model.conv.weight.numpy())


def test_unknown_decay_type_is_refused():
    with pytest.raises(ConfigError, match="threshold, normal, exponential"):
        ModelEMA(Student(), decay_type="linear")
