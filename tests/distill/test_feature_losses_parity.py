"""Each loss alone against PaddleDetection (the paper where they differ): values and gradients."""

from __future__ import annotations

import paddle
import pytest
from loss_cases import assert_close, fill_formula, leaf, listed, names, parity

from ppkd.distill import losses
from ppkd.distill.cells.masks import box_masks
from ppkd.structures.truth import Truth

FEATURE_CASES = [name for kind in ("fgd", "cwd", "pkd", "mgd", "mimic") for name in names(f"loss_{kind}_")]


def test_no_case_is_missing():
    assert len(FEATURE_CASES) == 18
    assert len(names("loss_kd_")) == 4


@pytest.mark.parametrize("name", FEATURE_CASES)
def test_feature_loss(name):
    meta, arrays = parity(name)
    formula = getattr(losses, meta["loss"])(**meta["init"])
    fill_formula(formula, meta.get("params", []))
    student, teacher = leaf(arrays["stu"]), leaf(arrays["tea"])
    batch = {}
    if "im_shape" in arrays:
        batch = {"im_shape": paddle.to_tensor(arrays["im_shape"]), "gt_bbox": listed(arrays, "gt_bbox")}
    value = formula(student, teacher, batch)
    assert value.shape == []
    assert value.item() == pytest.approx(meta["loss_value"], rel=1e-5)
    value.backward()
    expected = arrays["grad_stu"]
    assert_close(student.grad[:, : expected.shape[1]], expected, rtol=1e-4, atol=2e-5 * abs(expected).max())
    assert teacher.grad is None
    largest = max(meta.get("param_grad_norms", {"": 0.0}).values())
    for key, parameter in formula.named_parameters():
        norm = meta.get("param_grad_norms", {}).get(key)
        if norm is not None:
            assert paddle.linalg.norm(parameter.grad).item() == pytest.approx(norm, rel=1e-4, abs=1e-5 * largest), key


@pytest.mark.parametrize("name", [name for name in names("loss_fgd_") if "mask_fg" in parity(name)[1]])
def test_fgd_masks(name):
    _, arrays = parity(name)
    height, width = arrays["stu"].shape[2:]
    found = box_masks(
        Truth.of({"gt_bbox": listed(arrays, "gt_bbox")}).boxes, paddle.to_tensor(arrays["im_shape"]), height, width
    )
    for mask, key in zip(found, ("mask_fg", "mask_bg"), strict=True):
        assert_close(mask, arrays[key], rtol=1e-6)


@pytest.mark.parametrize("name", names("loss_kd_"))
def test_kd(name):
    meta, arrays = parity(name)
    formula = losses.KnowledgeDistillationKLDivLoss(**meta["init"])
    weight = paddle.to_tensor(arrays["weight"]) if meta["call"]["weight"] else None
    student, teacher = leaf(arrays["stu"]), leaf(arrays["tea"])
    value = formula(student, teacher, weight=weight, avg_factor=meta["call"]["avg_factor"])
    assert_close(value, arrays["loss"], rtol=1e-5)
    value.sum().backward()
    assert_close(student.grad, arrays["grad_stu"], rtol=1e-4, atol=1e-7)
    assert teacher.grad is None
