"""RetinaNet ResNet50 distilled from ResNet101 by FGD against PaddleDetection's losses and gradients."""

from __future__ import annotations

import json

import paddle
import pytest
from parity_fill import FOLDER, boxes, fill, fill_model, image_batch

from ppkd.config import load_config
from ppkd.distill import DistillModel, FrozenTeacher
from ppkd.distill.build import build_losses
from ppkd.models import build_detector

HEIGHT, WIDTH = 128, 160


@pytest.fixture(scope="module")
def case():
    return json.loads((FOLDER / "cases/distill_retinanet_r50_from_r101_fgd.json").read_text())


@pytest.fixture
def model(root, case):
    slim = load_config(str(root / "slim/distill/fgd.yml"))
    student = build_detector(load_config(str(root / case["student_config"]), ["pretrain_weights=null"]))
    teacher = build_detector(load_config(str(root / slim["teacher"]["config"]), ["pretrain_weights=null"]))
    fill_model(student, case["fill_rules_student"])
    fill_model(teacher, case["fill_rules_teacher"])
    losses = build_losses(slim, student.spec(), teacher.spec())
    for name, formula in zip(case["loss_order"], losses["fgd"].formulas, strict=True):
        for key, parameter in formula.named_parameters():
            parameter.set_value(fill(f"{name}.{key}", parameter.shape))
    return DistillModel(student, FrozenTeacher(teacher, ["neck"]), losses)


def batch(case):
    gt_bbox, gt_class = boxes(HEIGHT, WIDTH, [3, 1], case["num_classes"], salt=case["input_salt"])
    return {
        "image": paddle.to_tensor(image_batch(2, HEIGHT, WIDTH, salt=case["input_salt"])),
        "im_shape": paddle.to_tensor([[HEIGHT, WIDTH]] * 2, dtype="float32"),
        "scale_factor": paddle.ones([2, 2]),
        "gt_bbox": [paddle.to_tensor(one) for one in gt_bbox],
        "gt_class": [paddle.to_tensor(one) for one in gt_class],
    }


@pytest.mark.slow
def test_losses_and_gradients(model, case):
    expected = case["train"]
    model.train()
    terms = model(batch(case))
    fgd = sum(expected["losses"][name] for name in case["loss_order"])
    assert terms.pop("fgd").item() == pytest.approx(fgd, rel=1e-4)
    for name, value in terms.items():
        assert value.item() == pytest.approx(expected["losses"][name], rel=1e-4), name
    terms["loss"].backward()
    parameters = dict(model.student.named_parameters())
    for name, norm in expected["grad_norms"].items():
        assert paddle.linalg.norm(parameters[name].grad).item() == pytest.approx(norm, rel=2e-3), name
    for name, formula in zip(case["loss_order"], model.losses["fgd"].formulas, strict=True):
        norms = expected["loss_param_grad_norms"][name]
        for key, parameter in formula.named_parameters():
            found = paddle.linalg.norm(parameter.grad).item()
            assert found == pytest.approx(norms[key], rel=2e-3, abs=1e-5 * max(norms.values())), f"{name}.{key}"
