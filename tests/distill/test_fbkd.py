"""FBKD against the public code, and what must hold beyond its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from loss_cases import assert_close, golden, golden_names, leaf
from parity_fill import fill
from parts import in_parts
from sides import side

from ppkd.config import load_config
from ppkd.distill import Progress
from ppkd.distill.build import build_losses, check_slim
from ppkd.distill.losses import FBKD, FBKDFeatureLoss
from ppkd.distill.losses.fbkd.non_local import NonLocal
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError

SLIM = Path(__file__).resolve().parents[2] / "slim/distill"


def own_name(name):
    for theirs, ours in ((".g.0.0.conv", ".g"), (".phi.0.0.conv", ".phi"), (".theta.conv", ".theta")):
        name = name.replace(theirs, ours)
    name = name.replace("conv_out.conv", "conv_out").replace("conv_out.bn.", "norm_")
    return name.split(".", 1)[1]


def spec(strides, channels=4):
    levels = tuple(LevelSpec(channels, stride) for stride in strides)
    return DetectorSpec("Some", 3, {"neck": Entry("feature", "grid", levels)})


def maps(channels=8, height=9, width=12, seed=0):
    paddle.seed(seed)
    return paddle.randn([2, channels, height, width])


@pytest.mark.parametrize("name", golden_names("fbkd_"))
def test_values_and_gradients(name):
    meta, arrays = golden(name)
    channels, hyper = meta["hyper"]["in_channels"], meta["hyper"]
    pool = 2 * hyper["maxpool_stride"]
    formula = FBKDFeatureLoss(channels, channels, reduction=hyper["reduction"], maxpool_stride=pool)
    theirs = {own_name(key): key for key, _ in meta["params"] if "running" not in key}
    shapes = dict(meta["params"])
    assert set(theirs) == {key for key, _ in formula.named_parameters()}
    for key, parameter in formula.named_parameters():
        value = fill(theirs[key], shapes[theirs[key]])
        zero = hyper["bn_zero_init"] and ".norm_" in key
        parameter.set_value(0 * value if zero else value.T if key == "channel_wise_adaptation.weight" else value)
    student, teacher = leaf(arrays["in.feat_s"]), leaf(arrays["in.feat_t"])
    value = formula(student, teacher)
    assert value.item() == pytest.approx(arrays["out.loss"].item(), rel=1e-5)
    value.backward()
    assert teacher.grad is None
    expected = arrays["grad.feat_s"]
    assert_close(student.grad, expected, rtol=1e-4, atol=2e-5 * abs(expected).max())
    for key, parameter in formula.named_parameters():
        expected = arrays[f"grad.param.{theirs[key]}"]
        expected = expected.T if key == "channel_wise_adaptation.weight" else expected
        assert_close(parameter.grad, expected, rtol=1e-4, atol=2e-5 * max(abs(expected).max(), 1e-3), message=key)


def test_equal_maps_under_identities_cost_nothing_and_have_finite_gradients():
    formula, one = FBKDFeatureLoss(8, 8), maps()
    identity = np.eye(8, dtype="float32")
    for layer in (formula.adaptation_layers, formula.non_local_adaptation):
        layer.weight.set_value(identity.reshape(8, 8, 1, 1))
    formula.channel_wise_adaptation.weight.set_value(identity)
    formula.spatial_wise_adaptation.weight.set_value(np.eye(9, dtype="float32")[4].reshape(1, 1, 3, 3))
    one.stop_gradient = False
    value = formula(one, one.clone())
    value.backward()
    assert value.item() < 1e-6
    assert np.isfinite(one.grad.numpy()).all()
    for layer in (formula.teacher_non_local, formula.student_non_local):
        layer.norm_weight.set_value(np.ones(8, "float32"))
        assert formula(one, one.clone()).item() > 1e-3 * formula.nonlocal_weight


def test_every_parameter_moves_and_the_loss_falls():
    paddle.seed(1)
    formula = FBKDFeatureLoss(4, 8)
    student, teacher = maps(4), maps(8, seed=2)
    before = {name: p.numpy().copy() for name, p in formula.named_parameters()}
    optimizer = paddle.optimizer.Adam(1e-3, parameters=formula.parameters())
    values = []
    for _ in range(20):
        value = formula(student, teacher)
        values.append(value.item())
        value.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert values[-1] < values[0]
    assert not [name for name, p in formula.named_parameters() if np.array_equal(before[name], p.numpy())]


def test_a_non_local_block_starts_as_the_identity():
    one = maps()
    assert_close(NonLocal(8, 2, 2)(one), one.numpy(), rtol=0)


def test_maps_smaller_than_a_window_are_pooled_whole():
    assert np.isfinite(FBKDFeatureLoss(8, 8, maxpool_stride=8)(maps(height=1, width=3), maps(height=1, width=3)).item())


def test_windows_and_reductions_follow_the_rank_of_the_level():
    strides = (8, 16, 32, 64, 128)
    built = FBKD(spec(strides, channels=8), spec(strides, channels=8))
    windows = {
        pair.stride: (formula.student_non_local.maxpool_stride, formula.student_non_local.g.weight.shape[0])
        for pair, formula in zip(built.pairs["neck"], built.formulas, strict=True)
    }
    assert windows == {8: (8, 2), 16: (4, 2), 32: (2, 4), 64: (2, 4), 128: (2, 4)}
    assert len(FBKD(spec(strides), spec(strides), strides=[8, 32]).formulas) == 2
    with pytest.raises(ConfigError, match=r"FBKD has reduction \[4\] and maxpool_stride \[8, 4, 2\]"):
        FBKD(spec(strides), spec(strides), reduction=[4])


def test_the_wiring_sums_its_levels():
    paddle.seed(0)
    small, large = spec((8, 16), 4), spec((8, 16), 6)
    built = FBKD(small, large)
    own, other = [maps(4), maps(4, 5, 6)], [maps(6, seed=1), maps(6, 5, 6, seed=1)]
    sides = side(Record(small, {"neck": own})), side(Record(large, {"neck": other}))
    found = built(*sides, Truth.around(paddle.zeros([2, 1, 4])), Progress()).item()
    parts = [formula(one, two).item() for formula, one, two in zip(built.formulas, own, other, strict=True)]
    assert found == pytest.approx(sum(parts), rel=1e-6)


def test_the_slim_file_is_the_published_setting(root):
    slim = load_config(str(SLIM / "fbkd.yml"))
    check_slim(slim)
    assert (root / slim["teacher"]["config"]).is_file()
    pyramid = spec((4, 8, 16, 32, 64))
    built, default = build_losses(slim, pyramid, pyramid)["fbkd"], FBKD(pyramid, pyramid)
    assert [pair.stride for pair in built.pairs["neck"]] == [4, 8, 16, 32]
    for key in ("temp", "feature_weight", "channel_weight", "spatial_weight", "nonlocal_weight"):
        assert getattr(built.formulas[0], key) == getattr(default.formulas[0], key)
    assert [formula.student_non_local.maxpool_stride for formula in built.formulas] == [8, 4, 2, 2]


def test_norms_of_accumulated_batches_are_those_of_the_large_batch():
    """Value and gradients; the relations have statistics of each part, so they stay out."""
    formula = FBKDFeatureLoss(8, 8, nonlocal_weight=0.0)
    student, teacher = leaf(maps().numpy()), maps(seed=1)
    whole = formula(student, teacher)
    (expected,) = paddle.grad(whole, [student])
    parts = [(student[i : i + 1], teacher[i : i + 1]) for i in range(2)]
    value = in_parts(formula, parts)
    (found,) = paddle.grad(value, [student])
    assert value.item() == pytest.approx(whole.item(), rel=1e-5)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-8)


def test_norms_of_equal_parts_are_zero_without_a_gradient_that_is_none():
    formula = FBKDFeatureLoss(8, 8, nonlocal_weight=0.0)
    zeros = paddle.zeros([1, 8, 9, 12])
    for parameter in formula.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    value = in_parts(formula, [(zeros, zeros)] * 2)
    value.backward()
    assert value.item() == 0
    assert (formula.adaptation_layers.weight.grad == 0).all().item()
