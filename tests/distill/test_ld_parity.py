"""A GFL ResNet18vd distilled from ResNet101vd against PaddleDetection's losses and gradients."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from loss_cases import assert_close
from parity_fill import boxes, fill_model, image_batch, load_case
from sides import side

from ppkd.config import load_config
from ppkd.distill import DistillModel, FrozenTeacher
from ppkd.distill.build import build_losses, check_slim
from ppkd.distill.losses import RegionFinder
from ppkd.models import build_detector
from ppkd.structures import DetectorSpec, Record
from ppkd.structures.truth import Truth

HEIGHT, WIDTH = 128, 160
STRIDES = (8, 16, 32, 64, 128)


@pytest.fixture(scope="module")
def loaded():
    return load_case("distill_gfl_r18vd_from_r101vd_ld")


@pytest.fixture(scope="module")
def batch(loaded):
    case, _ = loaded
    gt_bbox, gt_class = boxes(HEIGHT, WIDTH, [3, 1], case["num_classes"], salt=case["input_salt"])
    return {
        "image": paddle.to_tensor(image_batch(2, HEIGHT, WIDTH, salt=case["input_salt"])),
        "im_shape": paddle.to_tensor([[HEIGHT, WIDTH]] * 2, dtype="float32"),
        "scale_factor": paddle.ones([2, 2]),
        "gt_bbox": [paddle.to_tensor(one) for one in gt_bbox],
        "gt_class": [paddle.to_tensor(one) for one in gt_class],
    }


@pytest.fixture(scope="module")
def model(root, loaded):
    case, _ = loaded
    slim = load_config(str(root / "slim/distill/ld.yml"))
    student = build_detector(load_config(str(root / "configs/gfl/gfl_r18vd_1x_coco.yml")))
    teacher = build_detector(load_config(str(root / slim["teacher"]["config"])))
    fill_model(student, case["fill_rules_student"], kept=case["student_kept_initial"])
    fill_model(teacher, case["fill_rules_teacher"], kept=case["teacher_kept_initial"])
    losses = build_losses(slim, student.spec(), teacher.spec())
    consumed = {entry for loss in losses.values() for entry in loss.consumes}
    return DistillModel(student, FrozenTeacher(teacher, consumed), losses)


@pytest.mark.parametrize("teacher", ["gfl_r101vd_fpn_mstrain_2x_coco", "gfl_r18vd_1x_coco"])
def test_the_slim_file_and_self_distillation_are_valid(root, teacher):
    slim = load_config(str(root / "slim/distill/ld.yml"), [f"teacher.config=configs/gfl/{teacher}.yml"])
    check_slim(slim)
    assert [loss["type"] for loss in slim["losses"].values()] == ["LD", "LD", "ClassKD"]


def test_regions(loaded, batch):
    case, arrays = loaded
    sizes = [(-(-HEIGHT // stride), -(-WIDTH // stride)) for stride in STRIDES]
    nothing = side(Record(DetectorSpec("GFL", 1, {}), {}))
    regions = RegionFinder(deviation="population")(sizes, STRIDES, nothing, Truth.of(batch))
    assert_close(paddle.concat(regions.main(), axis=1), arrays["in.labels"] < case["num_classes"], rtol=0)
    assert_close(paddle.concat(regions.valuable(), axis=1), arrays["in.vlr_regions"], rtol=1e-5, atol=1e-6)


def test_the_teachers_maps(model, loaded, batch):
    _, arrays = loaded
    record = model.teachers["teacher"](batch, like=None)
    for entry, key in (("cls_logits", "cls"), ("box_dist", "reg")):
        for i, level in enumerate(record[entry]):
            flat = level.flatten()
            probe = flat.numpy()[[int(at * (flat.shape[0] - 1) / 255) for at in range(256)]]
            expected = arrays[f"teacher.head.{key}.{i}.probe"]
            assert_close(probe, expected, rtol=1e-4, atol=1e-4 * abs(expected).max(), message=f"{key} {i}")


def test_losses_and_gradients(model, loaded, batch):
    expected = loaded[0]["train_teacher_eval_bn"]
    model.train()
    mark = model.teachers["teacher"].fingerprint()
    terms = model(batch)
    assert set(terms) == set(expected["losses"])
    for name, value in terms.items():
        assert value.item() == pytest.approx(expected["losses"][name], rel=1e-5), name
    terms["loss"].backward()
    parameters = dict(model.student.named_parameters())
    for name, norm in expected["grad_norms"].items():
        gradient = parameters[name].grad.numpy().astype("float64")
        assert np.linalg.norm(gradient) == pytest.approx(norm, rel=1e-5), name
    assert model.teachers["teacher"].fingerprint() == mark
