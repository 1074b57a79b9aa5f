"""PicoDet: published names, scores of two maps as logits, towers and pyramid by hand, losses that behave."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
from one_picture import batch, check_learning
from paddle.nn import functional as F

import ppkd
from ppkd.deploy.engine import EagerEngine, InferenceEngine
from ppkd.deploy.export import export_model
from ppkd.models.heads.pico_head import joint_logits
from ppkd.structures import scores
from ppkd.utils.errors import ConfigError

SMALL = "configs/shapes/picodet_s_160_shapes.yml"


@pytest.fixture
def small(root, monkeypatch):
    """Builds the small detector with overrides."""
    monkeypatch.chdir(root)

    def build(*overrides):
        paddle.seed(0)
        return ppkd.build_detector(ppkd.load_config(SMALL, list(overrides)))

    return build


def stir(model):
    """Statistics and factors of a model that has trained, so that nothing is neutral by chance."""
    rng = np.random.default_rng(0)
    for name, tensor in model.state_dict().items():
        if name.endswith(("_variance", "bn.weight", "bn1.weight", "bn2.weight", "norm.weight")):
            tensor.set_value(rng.uniform(0.5, 1.5, tensor.shape).astype("float32"))
        elif name.endswith("_mean") or "head_cls_list" in name or "head_reg_list" in name:
            tensor.set_value(rng.normal(0, 0.2, tensor.shape).astype("float32"))
    return model


def test_names_are_those_of_published_weights(root, monkeypatch):
    monkeypatch.chdir(root)
    model = ppkd.build_detector(ppkd.load_config("configs/picodet/picodet_s_320_coco_lcnet.yml"))
    keys = json.loads((root / "tests/fixtures/parity/keys/picodet_s_320_lcnet.keys.json").read_text())
    assert {name: list(t.shape) for name, t in model.state_dict().items()} == dict(keys)


def test_two_names_hold_one_tensor_and_the_unread_factors_do_not_train(small):
    model = small()
    state = model.state_dict()
    assert state["head.head_cls2.weight"] is state["head.head_cls_list.2.weight"]
    assert state["head.head_reg0.bias"] is state["head.head_reg_list.0.bias"]
    model(batch())["loss"].backward()
    trained = {name: p for name, p in model.named_parameters() if not p.stop_gradient}
    assert all(p.grad is not None for p in trained.values())
    assert not any("scale_reg" in name for name in trained)


def test_logits_of_a_record_are_those_of_the_scores_that_rank():
    """PaddleDetection's score is sqrt(sigmoid(class) * sigmoid(alignment) + 1e-9)."""
    first, second = (paddle.to_tensor(x, stop_gradient=False) for x in ([-3.0, 0.5, -90.0, 90.0], [1.0, -2, -90, 90]))
    logits = joint_logits(first, second)
    expected = (F.sigmoid(first) * F.sigmoid(second) + 1e-9).sqrt()
    np.testing.assert_allclose(F.sigmoid(logits).numpy(), expected.numpy(), rtol=1e-5, atol=2e-6)
    logits.sum().backward()
    assert np.isfinite(first.grad.numpy()).all()
    # d logit(sqrt(p q)) / d a = (1 - p) / (2 (1 - s)) for p = sigmoid(a).
    p, s = F.sigmoid(first).numpy()[:2], expected.numpy()[:2]
    np.testing.assert_allclose(first.grad.numpy()[:2], (1 - p) / (2 * (1 - s)), rtol=1e-4)


def test_without_alignment_the_class_map_alone_scores(small):
    plain, aligned = stir(small("PicoHeadV2.use_align_head=false")), stir(small())
    plain.set_state_dict({k: v for k, v in aligned.state_dict().items() if "cls_align" not in k})
    for model in (plain, aligned):
        model.eval()
    one, two = (model.extract(batch()) for model in (plain, aligned))
    np.testing.assert_array_equal(one.box_dist[1].numpy(), two.box_dist[1].numpy())
    tower, _ = aligned.head.conv_feat(two.neck[1], 1)
    gate = F.sigmoid(aligned.head.cls_align[1](tower)).unsqueeze(1)
    expected = (scores(one)[1] * gate + 1e-9).sqrt()
    np.testing.assert_allclose(scores(two)[1].numpy(), expected.numpy(), atol=1e-5)


def test_boxes_are_means_of_distributions_around_the_cells_middles(small):
    model = small()
    record = model.extract(batch())
    sides = paddle.full_like(record.box_dist[3], -50.0)
    sides[:, :, 2::8] = 50.0  # every side is two strides away
    found = model.boxes(record.replaced({"box_dist": [*record.box_dist[:3], sides]}))[3]
    assert found[0, 0].tolist() == [32 - 128, 32 - 128, 32 + 128, 32 + 128]
    assert found[0, 1].tolist() == [96 - 128, 32 - 128, 96 + 128, 32 + 128]


def test_the_assigner_changes_with_the_epoch(small):
    model = stir(small("PicoHeadV2.static_assigner_epoch=2"))
    inputs = batch()
    record = model.extract(inputs)
    static = model.assign(record, inputs)
    model.set_progress(1.99)
    assert (model.assign(record, inputs).labels == static.labels).all()
    model.set_progress(2.0)
    aligned = model.assign(record, inputs)
    assert (aligned.labels != static.labels).any()
    for targets in (static, aligned):
        assert float(targets.positive[1].sum()) == 0
        assert set(np.unique(targets.labels[0].numpy())) == {1, 3, 4}


@pytest.mark.parametrize("epoch", [0.0, 10.0])
def test_a_batch_without_boxes_has_a_class_loss_alone(small, epoch):
    model = small()
    model.set_progress(epoch)
    inputs = batch()
    terms = model({**inputs, "gt_bbox": inputs["gt_bbox"][1:] * 2, "gt_class": inputs["gt_class"][1:] * 2})
    assert float(terms["loss_bbox"]) == float(terms["loss_dfl"]) == 0
    assert float(terms["loss"]) == pytest.approx(float(terms["loss_vfl"]))


def test_the_exported_model_detects_the_same(small, tmp_path):
    model = stir(small())
    model.eval()
    cfg = ppkd.load_config(SMALL, ["TestReader.inputs_def.image_shape=[3,128,128]"])
    folder = export_model(model, cfg, tmp_path)
    inputs = {name: batch()[name][:1].numpy() for name in ("image", "im_shape", "scale_factor")}
    eager, exported = (np.concatenate(run(inputs)[:1]) for run in (EagerEngine(model), InferenceEngine(folder)))
    assert len(eager) > 10
    np.testing.assert_allclose(exported[:, 1], eager[:, 1], atol=1e-4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("PicoHeadV2.fpn_stride=[8, 16, 32]", "num_fpn_stride 4.* make them equal"),
        ("PicoHeadV2.feat_in_chan=96", "48 channels.* feat_in_chan 96: make them equal"),
        ("LCPAN.num_features=3", r"strides \[8, 16, 32\]: make them equal"),
        ("LCNet.feature_maps=[3, 4, 6]", "choose numbers 2..5"),
        ("LCNet.feature_maps=[3, 4]", "three levels of doubling strides"),
    ],
)
def test_settings_that_do_not_fit_are_named(small, override, message):
    with pytest.raises(ConfigError, match=message):
        small(override)


@pytest.mark.slow
def test_it_learns_one_picture_with_both_assigners(small):
    check_learning(small("PicoHeadV2.static_assigner_epoch=1"), rate=4e-3, steps=80)
