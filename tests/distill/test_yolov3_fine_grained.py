"""The fine-grained YOLOv3 loss against PaddleDetection's numbers and its own properties."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from parity_fill import load_case

from ppkd.distill.losses import DistillYOLOv3Loss
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record


def spec(classes):
    def levels(count):
        return tuple(LevelSpec(count, stride, anchors=3) for stride in (8, 16, 32))

    entries = {
        "box_xywh": Entry("box", "grid", levels(4), coding="yolo"),
        "objectness": Entry("quality", "grid", levels(1), activation="sigmoid"),
        "cls_logits": Entry("class", "grid", levels(classes), activation="sigmoid"),
    }
    return DetectorSpec("YOLOv3", classes, entries)


def record(maps, classes):
    shaped = [m.reshape([m.shape[0], 3, 5 + classes, *m.shape[2:]]) for m in maps]
    tensors = {
        "box_xywh": [m[:, :, :4] for m in shaped],
        "objectness": [m[:, :, 4:5] for m in shaped],
        "cls_logits": [m[:, :, 5:] for m in shaped],
    }
    return Record(spec(classes), tensors)


@pytest.fixture
def case():
    meta, arrays = load_case("loss_yolo_a")
    student, teacher = ([paddle.to_tensor(arrays[f"{side}.{i}"]) for i in range(3)] for side in ("stu", "tea"))
    for level in student:
        level.stop_gradient = False
    return meta, arrays, student, teacher


def test_value_and_gradient_match_paddledetection(case):
    meta, arrays, student, teacher = case
    loss = DistillYOLOv3Loss(weight=1000)(record(student, 8), record(teacher, 8))
    assert loss.item() == pytest.approx(meta["loss_value"], rel=1e-6)
    loss.backward()
    for i, level in enumerate(student):
        np.testing.assert_allclose(level.grad.numpy(), arrays[f"grad_stu.{i}"], rtol=1e-5, atol=1e-6)


def test_no_gradient_reaches_the_teacher(case):
    _, _, student, teacher = case
    for level in teacher:
        level.stop_gradient = False
    DistillYOLOv3Loss()(record(student, 8), record(teacher, 8)).backward()
    assert all(level.grad is None for level in teacher)


def test_a_teacher_without_objects_asks_for_nothing_but_absence(case):
    _, _, student, teacher = case
    confident, blind = record(student, 8), record(teacher, 8)
    blind = blind.replaced({"objectness": [paddle.full_like(level, -100.0) for level in blind["objectness"]]})
    value = DistillYOLOv3Loss(weight=1.0)(confident, blind).item()
    absent = sum(np.log1p(np.exp(level.numpy())).mean() for level in confident.objectness)
    assert value == pytest.approx(absent, rel=1e-5)
