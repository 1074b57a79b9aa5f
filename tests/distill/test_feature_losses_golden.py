"""Each loss alone against the code of the methods' authors: values and gradients."""

from __future__ import annotations

import paddle
import pytest
from loss_cases import assert_close, fill_formula, golden, golden_names, leaf, listed

from ppkd.distill.cells.masks import box_masks
from ppkd.distill.losses import (
    CWDFeatureLoss,
    FGDFeatureLoss,
    KnowledgeDistillationKLDivLoss,
    MGDFeatureLoss,
    PKDFeatureLoss,
)
from ppkd.structures.truth import Truth

FGD_NAMES = {"channel_add_conv_s": "stu_conv_block", "channel_add_conv_t": "tea_conv_block"}


def check(formula, arrays, batch=None, rename=None):
    student, teacher = leaf(arrays["in.feat_s"]), leaf(arrays["in.feat_t"])
    value = formula(student, teacher, batch)
    assert value.item() == pytest.approx(arrays["out.loss"].item(), rel=1e-5)
    value.backward()
    expected = arrays["grad.feat_s"]
    assert_close(student.grad[:, : expected.shape[1]], expected, rtol=1e-4, atol=2e-5 * abs(expected).max())
    assert teacher.grad is None
    for key, parameter in formula.named_parameters():
        for ours, theirs in {new: old for old, new in (rename or {}).items()}.items():
            key = key.replace(ours, theirs)
        expected = arrays[f"grad.param.{key}"]
        assert_close(parameter.grad, expected, rtol=1e-4, atol=2e-5 * max(abs(expected).max(), 1e-2), message=key)


@pytest.mark.parametrize("name", golden_names("fgd_"))
def test_fgd(name):
    meta, arrays = golden(name)
    settings = {k: v for k, v in meta["hyper"].items() if k not in ("counts", "img_shape", "params_init")}
    formula = FGDFeatureLoss(**settings)
    fill_formula(formula, meta["params"], FGD_NAMES)
    if meta["hyper"]["params_init"] == "zero_last":
        for key, parameter in formula.named_parameters():
            if "block.3" in key or key in ("conv_mask_s.bias", "conv_mask_t.bias"):
                parameter.set_value(paddle.zeros_like(parameter))
    batch = {
        "gt_bbox": listed(arrays, "in.gt_bbox"),
        "im_shape": paddle.to_tensor(meta["hyper"]["img_shape"], dtype="float32"),
    }
    height, width = arrays["in.feat_t"].shape[2:]
    for mask, key in zip(box_masks(Truth.of(batch).boxes, batch["im_shape"], height, width), ("fg", "bg"), strict=True):
        assert_close(mask, arrays[f"out.mask_{key}"], rtol=1e-6)
    check(formula, arrays, batch, FGD_NAMES)


@pytest.mark.parametrize("name", golden_names("cwd_"))
def test_cwd(name):
    meta, arrays = golden(name)
    channels = arrays["in.feat_s"].shape[1]
    check(CWDFeatureLoss(channels, channels, tau=meta["hyper"]["tau"], weight=meta["hyper"]["loss_weight"]), arrays)


@pytest.mark.parametrize("name", golden_names("pkd_"))
def test_pkd(name):
    meta, arrays = golden(name)
    check(PKDFeatureLoss(**meta["hyper"]), arrays)


@pytest.mark.parametrize("name", golden_names("mgd_"))
def test_mgd(name, monkeypatch):
    meta, arrays = golden(name)
    settings = dict(meta["hyper"])
    settings["loss_weight"] = settings.pop("alpha_mgd")
    formula = MGDFeatureLoss(**settings, normalize=False, align_bias=True)
    fill_formula(formula, meta["params"])
    drawn = paddle.to_tensor(arrays["in.rand"])

    def rand(shape):
        assert list(shape) == drawn.shape
        return drawn

    monkeypatch.setattr(paddle, "rand", rand)
    check(formula, arrays)


@pytest.mark.parametrize("name", golden_names("ldkd_"))
def test_kd(name):
    meta, arrays = golden(name)
    settings = dict(meta["hyper"])
    avg_factor = settings.pop("avg_factor")
    student, teacher = leaf(arrays["in.pred"]), leaf(arrays["in.soft_label"])
    weight = paddle.to_tensor(arrays["in.weight"]) if "in.weight" in arrays else None
    value = KnowledgeDistillationKLDivLoss(**settings)(student, teacher, weight=weight, avg_factor=avg_factor)
    assert_close(value, arrays["out.loss"], rtol=1e-5)
    value.sum().backward()
    assert_close(student.grad, arrays["grad.pred"], rtol=1e-4, atol=1e-7)
    assert teacher.grad is None
