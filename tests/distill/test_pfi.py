"""PFI against public code, and what must hold beyond its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from loss_cases import assert_close, golden, leaf

from ppkd.config import load_config
from ppkd.distill import Context
from ppkd.distill.build import build_losses, check_slim
from ppkd.distill.losses import PFI
from ppkd.structures import DenseRecord, DetectorSpec, LevelSpec
from ppkd.utils.errors import SpecError

SLIM = Path(__file__).resolve().parents[2] / "slim/distill"
NOTHING = Context({}, None)


def spec(strides=(8, 16), channels=4, classes=3, anchors=2, name="Some"):
    necks = tuple(LevelSpec(channels, stride) for stride in strides)
    logits = tuple(LevelSpec(classes, stride, anchors) for stride in strides)
    return DetectorSpec(name, classes, "sigmoid", {"neck": necks, "cls_logits": logits})


def record(of, images=2, seed=0):
    paddle.seed(seed)
    shapes = [[images, at.channels, 64 // at.stride, 64 // at.stride] for at in of.entries["neck"]]
    neck = [leaf(paddle.randn(shape).numpy()) for shape in shapes]
    levels = zip(shapes, of.entries["cls_logits"], strict=True)
    logits = [leaf(paddle.randn([images, at.anchors, at.channels, *shape[2:]]).numpy()) for shape, at in levels]
    return DenseRecord(neck, logits)


def test_values_and_gradients():
    meta, arrays = golden("pfi_a")
    channels, classes = arrays["in.feat_s.0"].shape[1], arrays["in.cls_s.0"].shape[1]
    of = spec((8, 16, 32), channels, classes, anchors=1)
    leaves = {key: [leaf(arrays[f"in.{key}.{i}"]) for i in range(3)] for key in ("feat_s", "feat_t", "cls_s", "cls_t")}
    records = [DenseRecord(leaves[f"feat_{k}"], [x.unsqueeze(1) for x in leaves[f"cls_{k}"]]) for k in "st"]
    loss = PFI(of, of, adapt=False, prediction="logits", weight=meta["hyper"]["loss_weight"])
    value = loss.weight * loss(*records, NOTHING)
    assert_close(value, arrays["out.loss"], rtol=1e-5)
    value.backward()
    for key in ("feat_s", "cls_s"):
        for i, level in enumerate(leaves[key]):
            expected = arrays[f"grad.{key}.{i}"]
            assert_close(level.grad, expected, rtol=1e-4, atol=2e-5 * abs(expected).max(), message=f"{key} {i}")
    assert all(level.grad is None for key in ("feat_t", "cls_t") for level in leaves[key])


@pytest.mark.parametrize("prediction", ["probabilities", "logits"])
def test_nothing_to_learn_where_predictions_agree(prediction):
    of = spec()
    ours, theirs = record(of), record(of, seed=1)
    loss = PFI(of, of, prediction=prediction)
    same = DenseRecord(theirs.neck, ours.cls_logits)
    assert loss(ours, same, NOTHING).item() == 0
    assert loss(ours, theirs, NOTHING).item() > 0
    loss = PFI(of, of, adapt=False, prediction=prediction)
    assert loss(ours, DenseRecord(ours.neck, theirs.cls_logits), NOTHING).item() == 0


def test_a_cell_weighs_by_how_much_predictions_differ():
    of = spec(strides=(8,))
    ours, theirs = record(of), record(of, seed=1)
    kept = np.zeros([2, 1, 1, 8, 8], "float32")
    kept[0, :, :, 2, 5] = 1
    logits = theirs.cls_logits[0] * kept + ours.cls_logits[0].detach() * (1 - kept)
    PFI(of, of)(ours, DenseRecord(theirs.neck, [logits]), NOTHING).backward()
    moved = ours.neck[0].grad.abs().sum(axis=1).nonzero()
    assert moved.tolist() == [[0, 2, 5]]


def test_the_order_of_images_and_levels_changes_nothing():
    of, turned = spec((8, 16)), spec((16, 8))
    ours, theirs = record(of), record(of, seed=1)
    loss = PFI(of, of, adapt=False)
    value = loss(ours, theirs, NOTHING).item()
    order = paddle.to_tensor([1, 0])
    assert loss(ours.images(order), theirs.images(order), NOTHING).item() == pytest.approx(value, rel=1e-6)
    other = PFI(of, turned, adapt=False)(ours, theirs.levels([1, 0]), NOTHING)
    assert other.item() == pytest.approx(value, rel=1e-6)


def test_necks_may_have_levels_that_the_head_has_not():
    necks = spec((4, 8, 16)).entries["neck"]
    more = DetectorSpec("More", 3, "sigmoid", {"neck": necks, "cls_logits": spec((8, 16)).entries["cls_logits"]})
    loss = PFI(more, more)
    assert [(neck.student, logits.student) for neck, logits in loss.levels] == [(1, 0), (2, 1)]


def test_unequal_channels_are_adapted_or_refused():
    small, large = spec(channels=4, name="Small"), spec(channels=6, name="Large")
    loss = PFI(small, large)
    loss(record(small), record(large, seed=1), NOTHING).backward()
    assert len(loss.parameters()) == 4
    assert all(parameter.grad is not None for parameter in loss.parameters())
    with pytest.raises(SpecError, match=r"Small from Large: PFI.adapt is false"):
        PFI(small, large, adapt=False)
    with pytest.raises(SpecError, match="PFI: cls_logits at stride 8 differs"):
        PFI(spec(classes=3), spec(classes=4))


def test_the_slim_file_is_the_published_setting(root):
    slim = load_config(str(SLIM / "pfi.yml"))
    check_slim(slim)
    assert (root / slim["teacher"]["config"]).is_file()
    built = build_losses(slim, spec(), spec())["pfi"]
    assert (built.weight, len(built.parameters())) == (1.5, 4)
