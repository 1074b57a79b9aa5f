"""A YOLOv3 MobileNetV1 distilled from ResNet34 against PaddleDetection's losses and gradients.

The targets are the runs whose teacher stays in evaluation mode: PaddleDetection as shipped lets its BatchNorm drift.
"""

from __future__ import annotations

import paddle
import pytest
from paddle import nn
from parity_fill import boxes, fill_model, image_batch, load_case

from ppkd.config import load_config
from ppkd.distill import DistillModel, FrozenTeacher
from ppkd.distill.build import build_losses
from ppkd.models import build_detector


@pytest.fixture(scope="module")
def case():
    return load_case("distill_yolov3_mv1_from_r34")[0]


@pytest.fixture
def model(root, case):
    configs = root / "configs/yolov3"
    student = build_detector(load_config(str(configs / "yolov3_mobilenet_v1_270e_coco.yml")))
    teacher = build_detector(load_config(str(configs / "yolov3_r34_270e_coco.yml")))
    fill_model(student, case["fill_rules_student"])
    fill_model(teacher, case["fill_rules_teacher"])
    slim = load_config(str(root / "slim/distill/yolov3_fine_grained.yml"))
    losses = build_losses(slim, student.spec(), teacher.spec())
    return DistillModel(student, FrozenTeacher(teacher), losses)


def batch(case):
    height, width = 128, 160
    gt_bbox, gt_class = boxes(height, width, [3, 1], case["num_classes"], salt=case["input_salt"])
    return {
        "image": paddle.to_tensor(image_batch(2, height, width, salt=case["input_salt"])),
        "im_shape": paddle.to_tensor([[height, width]] * 2, dtype="float32"),
        "scale_factor": paddle.ones([2, 2]),
        "gt_bbox": [paddle.to_tensor(one) for one in gt_bbox],
        "gt_class": [paddle.to_tensor(one) for one in gt_class],
    }


@pytest.mark.parametrize(
    ("run", "loss_bound", "grad_bound"),
    [
        ("train_student_frozen_bn__teacher_eval_bn", 3e-6, 2e-3),
        ("train_student_batch_bn__teacher_eval_bn", 5e-4, 6e-3),
    ],
)
def test_losses_and_gradients(model, case, run, loss_bound, grad_bound):
    expected = case[run]
    model.train()
    if "frozen_bn" in run:
        for layer in model.sublayers():
            if isinstance(layer, nn.BatchNorm2D):
                layer.eval()
    mark = model.teachers["teacher"].fingerprint()
    terms = model(batch(case))
    found = {name: value.item() for name, value in terms.items()}
    found["distill_loss"] = found.pop("fine_grained")
    for name, value in found.items():
        assert value == pytest.approx(expected["losses"][name], rel=loss_bound), name
    terms["loss"].backward()
    parameters = dict(model.student.named_parameters())
    for name, norm in expected["grad_norms"].items():
        assert paddle.linalg.norm(parameters[name].grad).item() == pytest.approx(norm, rel=grad_bound), name
    assert model.teachers["teacher"].fingerprint() == mark


def test_the_teachers_own_loss(model, case):
    teacher_loss = case["train_student_frozen_bn__teacher_eval_bn"]["losses"]["teacher_loss"]
    with paddle.no_grad():
        assert model.teachers["teacher"].detector(batch(case))["loss"].item() == pytest.approx(teacher_loss, rel=3e-6)
