from __future__ import annotations

import numpy as np
import paddle
import pytest
from engine_toy import Student
from paddle import nn

from ppkd.config import load_config
from ppkd.engine.optim import OptimizerBuilder, build_optimizer
from ppkd.engine.optimizer_state import export_state, import_state
from ppkd.utils.errors import ConfigError, WeightsError


def one_weight(value=1.0, **attr):
    return nn.Linear(
        1, 1, weight_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(value), **attr), bias_attr=False
    )


def step(layer, optimizer, rate, times=1, gradient=2.0):
    optimizer.set_lr(rate)
    for _ in range(times):
        (layer.weight * gradient).sum().backward()
        optimizer.step()
        optimizer.clear_grad()
    return layer.weight.numpy().item()


def test_default_is_paddledetections_momentum_and_l2_by_hand():
    layer = one_weight(1000.0)
    # g = 2 + 1e-4 * 1000; v = g; w = 1000 - 2.1; then g = 2 + 0.09979, v = 0.9 * 2.1 + 2.09979
    optimizer = OptimizerBuilder().build(layer.parameters())
    assert step(layer, optimizer, 1.0) == pytest.approx(997.9)
    assert step(layer, optimizer, 1.0) == pytest.approx(997.9 - (0.9 * 2.1 + 2.09979))


def test_momentum_with_l2_by_hand():
    layer = one_weight()
    optimizer = OptimizerBuilder(regularizer={"type": "L2", "factor": 0.5}).build(layer.parameters())
    # g = 2 + 0.5 * 1; v = g; w = 1 - 0.1 * 2.5; then g = 2 + 0.375, v = 0.9 * 2.5 + 2.375
    assert step(layer, optimizer, 0.1) == pytest.approx(0.75)
    assert step(layer, optimizer, 0.1) == pytest.approx(0.75 - 0.1 * (0.9 * 2.5 + 2.375))


@pytest.mark.parametrize("regularizer", [None, False])
def test_regularizer_can_be_switched_off(regularizer):
    layer = one_weight()
    optimizer = OptimizerBuilder(optimizer={"type": "SGD"}, regularizer=regularizer).build(layer.parameters())
    assert step(layer, optimizer, 0.1) == pytest.approx(0.8)


def test_a_layers_own_learning_rate_and_decay_win():
    layer = one_weight(learning_rate=0.5, regularizer=paddle.regularizer.L2Decay(0.0))
    builder = OptimizerBuilder(optimizer={"type": "SGD"}, regularizer={"type": "L2", "factor": 0.5})
    assert step(layer, builder.build(layer.parameters()), 0.1) == pytest.approx(0.9)


@pytest.mark.parametrize(("decayed", "expected"), [(True, 0.9 * 0.9 - 0.1), (False, 1.0 - 0.1)])
def test_adamw_spares_layers_without_decay(decayed, expected):
    layer = one_weight(0.9 if decayed else 1.0, **({} if decayed else {"regularizer": paddle.regularizer.L2Decay(0.0)}))
    optimizer = OptimizerBuilder(optimizer={"type": "AdamW", "weight_decay": 1.0}).build(layer.parameters())
    assert step(layer, optimizer, 0.1) == pytest.approx(expected, abs=1e-6)


def test_clipping_by_norm_and_by_value():
    for builder, change in (
        (OptimizerBuilder(optimizer={"type": "SGD"}, regularizer=None, clip_grad_by_norm=0.5), 0.5),
        (OptimizerBuilder(optimizer={"type": "SGD"}, regularizer=None, clip_grad_by_value=0.25), 0.25),
    ):
        layer = one_weight()
        assert step(layer, builder.build(layer.parameters()), 1.0) == pytest.approx(1.0 - change)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'Momentum'"):
        OptimizerBuilder(optimizer={"type": "Momentun"})
    with pytest.raises(ConfigError, match="did you mean 'momentum'"):
        OptimizerBuilder(optimizer={"type": "Momentum", "momentun": 0.9})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regularizer": {"type": "L3", "factor": 1.0}}, "L1 or L2"),
        ({"regularizer": {"type": "L2"}}, "factor: 0.0001"),
        ({"regularizer": {"type": "L2", "factor": "big"}}, "factor: expected a number from 0 on, not 'big'"),
        ({"optimizer": {"type": "AdamW"}, "regularizer": {"type": "L2", "faktor": 1.0}}, "factor: 0.0001"),
        ({"optimizer": {"type": "Momentum", "momentum": "high"}}, "momentum: expected a number .*, not 'high'"),
    ],
)
def test_wrong_values_are_refused_at_once(settings, message):
    with pytest.raises(ConfigError, match=message):
        OptimizerBuilder(**settings)


def train(model, optimizer, steps, seed):
    optimizer.set_lr(0.01)
    paddle.seed(seed)
    for _ in range(steps):
        model({"image": paddle.rand([2, 3, 6, 6])})["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()


@pytest.mark.parametrize("kind", ["Momentum", "Adam", "AdamW", "SGD"])
def test_state_under_structured_names_continues_a_model_built_elsewhere(kind):
    """The second model's automatic names differ from the first's, as they do in another process."""
    builder = OptimizerBuilder(optimizer={"type": kind})
    first = Student()
    optimizer = builder.build(first.parameters())
    train(first, optimizer, 3, seed=1)
    state = export_state(optimizer, dict(first.named_parameters()))
    second = Student()
    second.set_state_dict(first.state_dict())
    assert first.conv.weight.name != second.conv.weight.name
    other = builder.build(second.parameters())
    import_state(other, dict(second.named_parameters()), state)
    train(first, optimizer, 2, seed=2)
    train(second, other, 2, seed=2)
    for name, tensor in first.state_dict().items():
        assert np.array_equal(tensor.numpy(), second.state_dict()[name].numpy()), name
    if kind == "Momentum":
        assert set(state["conv.weight"]) == {"velocity"}


def test_state_of_another_model_or_optimizer_is_refused():
    model = Student()
    optimizer = OptimizerBuilder().build(model.parameters())
    parameters = dict(model.named_parameters())
    with pytest.raises(WeightsError, match=r"backbone\.x"):
        import_state(optimizer, parameters, {"backbone.x": {"velocity": np.zeros(1)}})
    with pytest.raises(WeightsError, match=r"moment1.*Momentum"):
        import_state(optimizer, parameters, {"conv.bias": {"moment1": np.zeros(4)}})
    with pytest.raises(WeightsError, match=r"\(5,\)"):
        import_state(optimizer, parameters, {"conv.bias": {"velocity": np.zeros(5)}})


def test_a_wrong_setting_names_the_place_of_its_block(tmp_path):
    file = tmp_path / "c.yml"
    file.write_text("architecture: YOLOv3\nepoch: 1\nOptimizerBuilder:\n  optimizer: {type: Adamw}\n")
    with pytest.raises(ConfigError, match=r"c\.yml:\d: OptimizerBuilder.*'Adamw'; did you mean 'AdamW'") as error:
        build_optimizer(load_config(file))
    assert any(f"c.yml:{line}:" in str(error.value) for line in (3, 4))
