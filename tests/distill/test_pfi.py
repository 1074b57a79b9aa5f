"""PFI against public code, and what must hold beyond its numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from loss_cases import assert_close, golden, leaf
from sides import side

from ppkd.config import load_config
from ppkd.distill import Progress
from ppkd.distill.build import build_losses, check_slim
from ppkd.distill.losses import PFI
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

SLIM = Path(__file__).resolve().parents[2] / "slim/distill"
NOTHING = Truth.around(paddle.zeros([2, 1, 4]))


def spec(strides=(8, 16), channels=4, classes=3, anchors=2, name="Some", necks=None):
    neck = Entry("feature", "grid", tuple(LevelSpec(channels, stride) for stride in necks or strides))
    levels = tuple(LevelSpec(classes, stride, anchors) for stride in strides)
    return DetectorSpec(
        name, classes, {"neck": neck, "cls_logits": Entry("class", "grid", levels, activation="sigmoid")}
    )


def record(of, images=2, seed=0):
    paddle.seed(seed)
    shapes = [[images, at.channels, 64 // at.stride, 64 // at.stride] for at in of.entries["neck"].levels]
    neck = [leaf(paddle.randn(shape).numpy()) for shape in shapes]
    levels = zip(shapes, of.entries["cls_logits"].levels, strict=True)
    logits = [leaf(paddle.randn([images, at.anchors, at.channels, *shape[2:]]).numpy()) for shape, at in levels]
    return Record(of, {"neck": neck, "cls_logits": logits})


def compare(loss, student, teacher):
    return loss(side(student), side(teacher), NOTHING, Progress())


def test_values_and_gradients():
    meta, arrays = golden("pfi_a")
    channels, classes = arrays["in.feat_s.0"].shape[1], arrays["in.cls_s.0"].shape[1]
    of = spec((8, 16, 32), channels, classes, anchors=1)
    leaves = {key: [leaf(arrays[f"in.{key}.{i}"]) for i in range(3)] for key in ("feat_s", "feat_t", "cls_s", "cls_t")}
    records = [
        Record(of, {"neck": leaves[f"feat_{k}"], "cls_logits": [x.unsqueeze(1) for x in leaves[f"cls_{k}"]]})
        for k in "st"
    ]
    loss = PFI(of, of, adapt=False, prediction="logits", weight=meta["hyper"]["loss_weight"])
    value = loss.weight * compare(loss, *records)
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
    student, teacher = record(of), record(of, seed=1)
    loss = PFI(of, of, prediction=prediction)
    same = teacher.replaced({"cls_logits": student["cls_logits"]})
    assert compare(loss, student, same).item() == 0
    assert compare(loss, student, teacher).item() > 0
    loss = PFI(of, of, adapt=False, prediction=prediction)
    assert compare(loss, student, teacher.replaced({"neck": student["neck"]})).item() == 0


def test_a_cell_weighs_by_how_much_predictions_differ():
    of = spec(strides=(8,))
    student, teacher = record(of), record(of, seed=1)
    kept = np.zeros([2, 1, 1, 8, 8], "float32")
    kept[0, :, :, 2, 5] = 1
    logits = teacher.cls_logits[0] * kept + student.cls_logits[0].detach() * (1 - kept)
    compare(PFI(of, of), student, teacher.replaced({"cls_logits": [logits]})).backward()
    moved = student.neck[0].grad.abs().sum(axis=1).nonzero()
    assert moved.tolist() == [[0, 2, 5]]


def test_the_order_of_images_changes_nothing():
    of = spec((8, 16))
    student, teacher = record(of), record(of, seed=1)
    loss = PFI(of, of, adapt=False)
    value = compare(loss, student, teacher).item()
    order = paddle.to_tensor([1, 0])
    assert compare(loss, student.images(order), teacher.images(order)).item() == pytest.approx(value, rel=1e-6)


def test_levels_pair_by_stride():
    of, more = spec((8, 16)), spec((4, 8, 16, 32))
    student, teacher = record(of), record(of, seed=1)
    further = record(more, seed=2)
    wider = further.replaced({name: [further[name][0], *teacher[name], further[name][3]] for name in teacher.tensors})
    value = compare(PFI(of, of, adapt=False), student, teacher).item()
    assert compare(PFI(of, more, adapt=False), student, wider).item() == pytest.approx(value, rel=1e-6)


def test_necks_may_have_levels_that_the_head_has_not():
    more = spec((8, 16), necks=(4, 8, 16))
    loss = PFI(more, more)
    assert [(neck.student, logits.student) for neck, logits in loss.levels] == [(1, 0), (2, 1)]


def test_a_neck_and_a_head_without_a_common_stride_are_refused():
    apart = spec((32, 64), necks=(4, 8))
    with pytest.raises(SpecError, match=r"PFI compares .* Some and Some .*: neck \[4, 8\], cls_logits \[32, 64\]"):
        PFI(apart, apart)


def test_unequal_channels_are_adapted_or_refused():
    small, large = spec(channels=4, name="Small"), spec(channels=6, name="Large")
    loss = PFI(small, large)
    compare(loss, record(small), record(large, seed=1)).backward()
    assert len(loss.parameters()) == 4
    assert all(parameter.grad is not None for parameter in loss.parameters())
    with pytest.raises(SpecError, match=r"Small from Large: PFI.adapt is false"):
        PFI(small, large, adapt=False)
    with pytest.raises(SpecError, match="PFI: cls_logits at stride 8 differs"):
        PFI(spec(classes=3), spec(classes=4))


def test_classes_under_a_softmax_are_compared_as_logits_alone():
    of = spec()
    logits = replace(of.entries["cls_logits"], activation="softmax")
    other = replace(of, entries={**of.entries, "cls_logits": logits})
    with pytest.raises(SpecError, match=r"PFI reads cls_logits through a sigmoid, but that of Some .* softmax"):
        PFI(other, other)
    assert compare(PFI(other, other, prediction="logits"), record(other), record(other, seed=1)).item() > 0


def test_the_slim_file_is_the_published_setting(root):
    slim = load_config(str(SLIM / "pfi.yml"))
    check_slim(slim)
    assert (root / slim["teacher"]["config"]).is_file()
    built = build_losses(slim, spec(), spec())["pfi"]
    assert (built.weight, len(built.parameters())) == (1.5, 4)
