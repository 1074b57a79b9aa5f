"""Mixed precision: what is rounded where, how far losses move, and that nothing else changes."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import paddle
import pytest
from engine_toy import Loader, make_trainer
from paddle import nn

from ppkd.config import Config, build
from ppkd.distill import DistillModel, FrozenTeacher
from ppkd.engine.precision import GROW_EVERY, MixedPrecision, Precision, ScaledPrecision, choose
from ppkd.models import casting
from ppkd.models.casting import full_precision, low_precision
from ppkd.models.detectors import detr
from ppkd.models.postprocess import detr_post_process
from ppkd.models.transformers import rtdetr_transformer
from ppkd.utils.serialization import read_pickle, read_weights

sys.path.append(str(Path(__file__).resolve().parents[1] / "contracts"))
from pairs import DETECTORS, batch, detector

BOUNDS = {"bfloat16": 0.01, "float16": 0.002}
"""How far a loss may be from its float32 value, relative to it, on fixed weights and images."""


def fits(array, dtype):
    """Whether every number of ``array`` is one of ``dtype``."""
    tensor = paddle.to_tensor(array)
    return bool((tensor.astype(dtype).astype("float32") == tensor).all().item())


@pytest.fixture(scope="module")
def model():
    """RetinaNet taught by itself with other weights, by features and by outputs; statistics stay as they are."""
    student, teacher = detector("RetinaNet", seed=0), detector("RetinaNet", seed=1)
    specs = {"student": student.spec(), "teacher": teacher.spec()}
    losses = {name: build(Config({}, {}), name, **specs) for name in ("OutputL2", "FGD", "CWD", "PKD")}
    made = DistillModel(student, FrozenTeacher(teacher), losses)
    made.eval()
    return made


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("level", ["O1", "O2"])
def test_every_loss_agrees_with_float32_within_the_stated_bound(rounding, model, dtype, level):
    images = batch()
    expected = {name: term.item() for name, term in model(images).items()}
    with low_precision(dtype, level):
        found = model(images)
    assert all(term.dtype == paddle.float32 for term in found.values())
    changed = [name for name, value in expected.items() if found[name].item() != value]
    assert len(changed) > len(expected) // 2
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, rel=BOUNDS[dtype]), name


def test_gradients_agree_too_and_arrive_in_float32(rounding, model):
    def gradient(context):
        model.clear_gradients()
        with context:
            loss = model(batch())["loss"]
        loss.backward()
        return {name: p.grad.numpy().copy() for name, p in model.student.named_parameters() if p.grad is not None}

    expected, found = gradient(nullcontext()), gradient(low_precision("bfloat16", "O1"))
    model.clear_gradients()
    assert expected.keys() == found.keys()
    assert all(array.dtype == np.float32 for array in found.values())
    whole = [np.concatenate([array.ravel() for array in one.values()]) for one in (expected, found)]
    cosine = np.dot(*whole) / np.prod([np.linalg.norm(one) for one in whole])
    assert 0.99 < cosine < 1.0


def test_the_teacher_is_float32_unless_asked(rounding, model):
    images = batch()
    record = model.student.extract(images)
    expected = model.teacher(images, like=record)
    with low_precision("bfloat16", "O1"):
        plain = model.teacher(images, like=record)
        cast = FrozenTeacher(model.teacher.detector, casts=True)(images, like=record)
    for entry in expected.tensors:
        levels = [[level.numpy() for level in getattr(one, entry)] for one in (expected, plain, cast)]
        assert all(np.array_equal(a, b) for a, b in zip(levels[0], levels[1], strict=True))
        assert not all(np.array_equal(a, b) for a, b in zip(levels[0], levels[2], strict=True))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_convolutions_take_and_give_rounded_numbers_and_their_gradients_are_rounded(rounding, dtype):
    paddle.seed(0)
    conv, image = nn.Conv2D(3, 4, 3, bias_attr=False), paddle.rand([1, 3, 8, 8])
    rounded = nn.Conv2D(3, 4, 3, bias_attr=False)
    rounded.weight.set_value(conv.weight.astype(dtype).astype("float32"))
    exact = rounded(image.astype(dtype).astype("float32"))
    with low_precision(dtype, "O1"):
        found = conv(image)
    assert found.dtype == paddle.float32 and fits(found.numpy(), dtype)
    np.testing.assert_array_equal(found.numpy(), exact.astype(dtype).astype("float32").numpy())
    (found * 0.3337).sum().backward()
    assert fits(conv.weight.grad.numpy(), dtype)


def test_level_two_rounds_norms_and_activations_and_statistics_stay_float32(rounding):
    paddle.seed(0)
    norm, maps = nn.BatchNorm2D(4), paddle.rand([2, 4, 5, 5])
    for level, is_rounded in (("O1", False), ("O2", True)):
        with low_precision("bfloat16", level):
            assert fits(norm(maps).numpy(), "bfloat16") == is_rounded
    assert not fits(norm._mean.numpy(), "bfloat16")


def test_float32_regions_inside_are_exact_and_nothing_remains_outside(rounding):
    paddle.seed(0)
    conv, image = nn.Conv2D(3, 4, 3), paddle.rand([1, 3, 8, 8])
    expected = conv(image).numpy()
    with low_precision("bfloat16", "O2"):
        with full_precision():
            np.testing.assert_array_equal(conv(image).numpy(), expected)
        assert not np.array_equal(conv(image).numpy(), expected)
    with pytest.raises(RuntimeError, match="inside"), low_precision("bfloat16", "O1"):
        raise RuntimeError("inside")
    np.testing.assert_array_equal(conv(image).numpy(), expected)


@pytest.mark.parametrize(
    ("level", "promote", "norms"), [("O1", True, None), ("O2", False, {"group_norm", "layer_norm"})]
)
def test_paddle_casts(monkeypatch, level, promote, norms):
    asked = []
    monkeypatch.setattr(casting.paddle.amp, "auto_cast", lambda **settings: asked.append(settings) or nullcontext())
    with low_precision("float16", level):
        pass
    assert asked == [{"level": level, "dtype": "float16", "use_promote": promote, "custom_black_list": norms}]


def test_the_default_type_is_float16_and_on_a_cpu_it_is_float32_which_is_said(caplog):
    caplog.set_level("INFO")
    assert type(choose(amp=False, level="O1", dtype=None, gpu=True)) is Precision
    assert isinstance(choose(amp=True, level="O1", dtype=None, gpu=True), ScaledPrecision)
    assert type(choose(amp=True, level="O2", dtype="bfloat16", gpu=True)) is MixedPrecision
    assert "float32" not in caplog.text
    caplog.clear()
    assert type(choose(amp=True, level="O2", dtype="bfloat16", gpu=False)) is Precision
    assert [record.getMessage() for record in caplog.records] == [
        "--amp does nothing on a CPU, where Paddle has no arithmetic of 16 bits: computing in float32"
    ]


def test_scaling_leaves_gradients_as_they_are_and_saves_the_small_ones(rounding):
    """1e-7 times 1e-3 is below float16's smallest number; times 1024 it is not."""
    weight = paddle.create_parameter([4, 4], "float32", default_initializer=nn.initializer.Constant(0.5))

    def gradient(precision):
        weight.clear_gradient()
        with low_precision("float16", "O1"):
            out = nn.functional.linear(paddle.full([1, 4], 1e-3), weight)
        precision.backward(out.sum() * 1e-5)
        assert precision.finite([weight.grad]).item()
        return weight.grad.numpy().copy()

    assert not np.array_equal(gradient(MixedPrecision("float16", "O1")), np.full([4, 4], 1e-8, np.float32))
    np.testing.assert_allclose(gradient(ScaledPrecision("O1")), 1e-8, rtol=0.02)


def test_the_scale_follows_overflows_and_survives_a_resume():
    precision = ScaledPrecision("O1")
    assert not precision.finite([paddle.to_tensor([1.0, float("inf")])]).item()
    assert precision.relax() and precision.scale == 512
    for _ in range(GROW_EVERY):
        precision.after_step()
    assert precision.scale == 1024
    other = ScaledPrecision("O1")
    other.restore(precision.state())
    assert other.state() == precision.state()
    other.scale = 1.0
    assert not other.relax() and other.scale == 1.0


@pytest.mark.parametrize("precision", [MixedPrecision("bfloat16", "O1"), ScaledPrecision("O2")])
def test_what_is_saved_is_float32_and_training_learns(rounding, tmp_path, precision):
    trainer = make_trainer(tmp_path, kind="ema", precision=precision)
    trainer.train()
    rows = (tmp_path / "results.csv").read_text().splitlines()
    at = rows[0].split(",").index("loss")
    assert float(rows[-1].split(",")[at]) < float(rows[1].split(",")[at])
    states = read_pickle(tmp_path / "model_final.pdstates")
    saved = [read_weights(tmp_path / "model_final"), states["student"], states["ema"]["averages"]]
    assert {array.dtype.name for arrays in saved for array in arrays.values()} == {"float32"}
    assert not fits(saved[0]["conv.weight"], "bfloat16")
    assert states["precision"] == precision.state()
    assert len(list(Loader())) == 5


@pytest.mark.parametrize("name", [name for name in DETECTORS if name != "DETR"])
def test_decoding_and_suppression_are_float32(name, monkeypatch, rounding):
    """Boxes in half precision would be off by half a pixel at 1000: everything behind the raw maps is exact."""
    made = detector(name, seed=0)
    made.eval()
    seen = []
    kind = type(made.post_process.nms)
    original = kind.__call__
    monkeypatch.setattr(kind, "__call__", lambda *a, **k: seen.append(rounding.dtype) or original(*a, **k))
    with paddle.no_grad(), low_precision("bfloat16", "O2"):
        made.predict(batch())
    assert seen and all(dtype is None for dtype in seen)


def test_boxes_of_queries_are_float32_from_the_anchors_on(monkeypatch, rounding):
    """Each decoder layer refines the boxes of the one before, and nothing is suppressed behind the last one."""
    made, seen = detector("DETR", seed=0), []

    def watch(module, name):
        own = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: seen.append((name, rounding.dtype)) or own(*a, **k))

    for module, name in (
        (rtdetr_transformer, "anchor_logits"),
        (rtdetr_transformer, "denoising"),
        (rtdetr_transformer, "logit"),
        (detr, "xyxy_to_cxcywh"),
        (detr_post_process, "cxcywh_to_xyxy"),
    ):
        watch(module, name)
    with paddle.no_grad(), low_precision("bfloat16", "O2"):
        made(batch())
        made.eval()
        made.predict(batch())
    assert {name for name, _ in seen} == {"anchor_logits", "denoising", "logit", "xyxy_to_cxcywh", "cxcywh_to_xyxy"}
    assert all(dtype is None for _, dtype in seen)
