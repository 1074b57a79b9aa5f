"""PP-YOLOE+: published names, branches that merge without a trace, assignment worked by hand, losses that behave."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
from one_picture import batch, check_learning

import ppkd
from ppkd.deploy.engine import EagerEngine, InferenceEngine
from ppkd.deploy.export import export_model
from ppkd.models.assigners.task_aligned_assigner import TaskAlignedAssigner
from ppkd.models.layers.rep_vgg import MergedConv, RepVggBlock, merged
from ppkd.models.losses.varifocal_loss import VarifocalLoss
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError

SMALL = "configs/shapes/ppyoloe_plus_crn_160_shapes.yml"


@pytest.fixture
def small(root, monkeypatch):
    """Builds the small detector with overrides."""
    monkeypatch.chdir(root)

    def build(*overrides):
        paddle.seed(0)
        return ppkd.build_detector(ppkd.load_config(SMALL, list(overrides)))

    return build


def stir(model):
    """Statistics and factors of a model that has trained, negative ones too, so that nothing is neutral by chance."""
    rng = np.random.default_rng(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("alpha"):
            tensor.set_value(rng.uniform(-1.0, 1.0, tensor.shape).astype("float32"))
        elif name.endswith(("_variance", "bn.weight")):
            tensor.set_value(rng.uniform(0.5, 1.5, tensor.shape).astype("float32"))
        elif name.endswith(("_mean", "bn.bias")) or "pred_" in name:
            tensor.set_value(rng.normal(0, 0.2, tensor.shape).astype("float32"))
    return model


def test_names_are_those_of_published_weights(root, monkeypatch):
    monkeypatch.chdir(root)
    model = ppkd.build_detector(ppkd.load_config("configs/ppyoloe/ppyoloe_plus_crn_s_80e_coco.yml"))
    keys = json.loads((root / "tests/fixtures/parity/keys/ppyoloe_plus_crn_s.keys.json").read_text())
    assert {name: list(t.shape) for name, t in model.state_dict().items()} == dict(keys)


def test_merged_branches_compute_the_same(small):
    model = stir(small())
    model.eval()
    single = merged(model)
    assert any(layer.alpha.item() < 0 for layer in model.sublayers() if getattr(layer, "alpha", None) is not None)
    assert not any(isinstance(layer, RepVggBlock) for layer in single.sublayers())
    assert sum(isinstance(layer, MergedConv) for layer in single.sublayers()) == sum(
        isinstance(layer, RepVggBlock) for layer in model.sublayers()
    )
    for one, two in zip(single.extract(batch()).box_dist, model.extract(batch()).box_dist, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=1e-4, atol=1e-2)


def test_exported_model_has_no_branches_and_detects_the_same(small, tmp_path):
    model = stir(small())
    model.eval()
    cfg = ppkd.load_config(SMALL, ["TestReader.inputs_def.image_shape=[3,128,128]"])
    folder = export_model(model, cfg, tmp_path)
    values = sum(tensor.size for tensor in merged(model).state_dict().values())
    assert (folder / "model.pdiparams").stat().st_size == pytest.approx(4 * values, rel=0.01)
    inputs = {name: batch()[name][:1].numpy() for name in ("image", "im_shape", "scale_factor")}
    eager, exported = (np.concatenate(run(inputs)[:1]) for run in (EagerEngine(model), InferenceEngine(folder)))
    assert len(eager) > 10
    np.testing.assert_allclose(exported[:, 1], eager[:, 1], atol=1e-4)


def test_task_alignment_worked_by_hand():
    """Two boxes, four cells in a row; alignment is score * overlap^2 here."""
    truth = Truth(
        paddle.to_tensor([[[0.0, 0, 20, 10], [20, 0, 40, 10], [0, 0, 0, 0]]]),
        paddle.to_tensor([[0, 1, 0]]),
        paddle.to_tensor([[1.0, 1.0, 0.0]]),
    )
    points = paddle.to_tensor([[5.0, 5], [15, 5], [25, 5], [45, 5]])
    boxes = paddle.to_tensor([[[0.0, 0, 20, 10], [0, 0, 10, 10], [20, 0, 40, 5], [20, 0, 40, 10]]])
    scores = paddle.to_tensor([[[0.5, 0.1], [0.8, 0.1], [0.1, 0.4], [0.1, 0.9]]])
    found = TaskAlignedAssigner(topk=2, alpha=1.0, beta=2.0)(scores, boxes, points, truth)
    assert found.positive.tolist() == [[True, True, True, False]]
    assert found.box.tolist() == [[0, 0, 1, 0]]
    # Box 0: 0.5 * 1 and 0.8 * 0.25, its largest overlap 1; box 1: one cell, its overlap 0.5.
    np.testing.assert_allclose(found.rating.numpy(), [[1.0, 0.4, 0.5, 0.0]], rtol=1e-6)


def test_varifocal_loss_worked_by_hand():
    probability = np.array([[0.7, 0.2]], dtype="float32")
    logits = paddle.to_tensor(np.log(probability / (1 - probability)))
    value = VarifocalLoss()(logits, paddle.to_tensor([0]), paddle.to_tensor([0.6]))
    positive = 0.6 * -(0.6 * np.log(0.7) + 0.4 * np.log(0.3))
    negative = 0.75 * 0.2**2 * -np.log(0.8)
    assert float(value) == pytest.approx(positive + negative, rel=1e-5)


def test_the_assigner_changes_with_the_epoch(small):
    model = stir(small("PPYOLOEHead.static_assigner_epoch=2"))
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
        assert float(targets.rating.max()) <= 1.0
    assert 0 < float(aligned.positive.sum()) <= 2 * 13


@pytest.mark.parametrize("epoch", [0.0, 10.0])
def test_a_batch_without_boxes_has_a_class_loss_alone(small, epoch):
    model = small()
    model.set_progress(epoch)
    inputs = batch()
    terms = model({**inputs, "gt_bbox": inputs["gt_bbox"][1:] * 2, "gt_class": inputs["gt_class"][1:] * 2})
    assert float(terms["loss_iou"]) == float(terms["loss_dfl"]) == 0
    assert float(terms["loss"]) == pytest.approx(float(terms["loss_cls"]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("PPYOLOEHead.loss_weight={box: 1.0}", r"no \['box'\]"),
        ("PPYOLOEHead.fpn_strides=[8, 16, 32]", "make them equal"),
        ("CSPResNet.return_idx=[1, 2, 4]", "return_idx among 0..3"),
        ("CustomCSPPAN.out_channels=[768, 384]", "has 2 entries for levels"),
    ],
)
def test_settings_that_do_not_fit_are_named(small, override, message):
    with pytest.raises(ConfigError, match=message):
        small(override)


@pytest.mark.slow
def test_it_learns_one_picture_with_both_assigners(small):
    check_learning(small("PPYOLOEHead.static_assigner_epoch=1"), rate=2e-3, steps=60)
