"""Mask R-CNN computes what PaddleDetection computes, from the same weights and images, without random sampling.

What it has in common with Faster R-CNN is compared there; here are masks, their targets, losses and gradients.
"""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from parity_checks import assert_gradients
from parity_fill import fill_model, load_case, load_keys

from ppkd.config import load_config
from ppkd.data.outlines import Outlines, read_polygons
from ppkd.models import build_detector

CASE = "mask_rcnn_r50_fpn"
LOSS_BOUND = 3e-6
GRADIENT_BOUND = 4e-5
FIRST_ONES = ["RPNHead.rpn_target_assign.use_random=false", "BBoxAssigner.use_random=false"]
THREADS = 1


@pytest.fixture(scope="module")
def reference():
    return load_case(CASE)


@pytest.fixture(scope="module")
def model(root, reference):
    built = build_detector(load_config(root / "configs/mask_rcnn/mask_rcnn_r50_fpn_1x_coco.yml", FIRST_ONES))
    fill_model(built, reference[0]["fill_rules"])
    return built


@pytest.fixture(scope="module")
def batch(batches, reference):
    return batches(*reference[0]["input_hw"], reference[0]["gt_counts"], reference[0]["num_classes"])


def outlines(polygons):
    return paddle.to_tensor(Outlines.of([read_polygons([one])[0] for one in polygons]).padded())


def corners(boxes):
    return [[x1, y1, x2, y1, x2, y2, x1, y2] for x1, y1, x2, y2 in boxes.tolist()]


def with_masks(batch, arrays, run):
    """``train_ref``: every mask is its box; ``train_ref_poly``: the hexagons of the reference."""
    by_image = [arrays[f"in.gt_poly.{i}"] for i in range(2)] if run.endswith("poly") else map(corners, batch["gt_bbox"])
    return {**batch, "gt_poly": [outlines(polygons) for polygons in by_image]}


def test_state_dict_is_the_references(model):
    assert [(key, list(tensor.shape)) for key, tensor in model.state_dict().items()] == load_keys(CASE)


@pytest.mark.parametrize("run", [pytest.param("train_ref", marks=pytest.mark.slow), "train_ref_poly"])
def test_losses_gradients_and_targets(model, batch, reference, run):
    inputs, expected, arrays = with_masks(batch, reference[1], run), reference[0][run], reference[1]
    model.train()
    model.clear_gradients()
    record = model.extract(inputs)
    targets = model.assign(record, inputs)
    losses = model.loss(record, targets)
    paddle.add_n(list(losses.values())).backward()
    wanted = {name: value for name, value in expected["losses"].items() if name != "loss"}
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(wanted, rel=LOSS_BOUND)
    assert_gradients(model, expected["grad_norms"], GRADIENT_BOUND)
    masks = targets.masks.masks.numpy()[targets.masks.counted.numpy() > 0].astype("uint8")
    assert list(masks.shape) == arrays[f"{run}.mask_target.shape"].tolist()
    np.testing.assert_array_equal(masks.sum(axis=(1, 2)), arrays[f"{run}.mask_target.area"])
    np.testing.assert_array_equal(np.packbits(masks[:4].flatten()), arrays[f"{run}.mask_target.first"])


def test_masks_of_the_references_detections(model, batch, reference):
    arrays = reference[1]
    rows = paddle.to_tensor(arrays["eval.bbox"])
    counts = paddle.to_tensor(arrays["eval.bbox_num"].astype("int32"))
    model.eval()
    with paddle.no_grad():
        logits = model.mask_head(model.features(batch), rows[:, 2:], counts, rows[:, 0])
        pasted = model.mask_post_process(paddle.nn.functional.sigmoid(logits), rows[:, 2:], batch["im_shape"]).numpy()
    means = arrays["eval.mask_logits_of_label.mean"]
    np.testing.assert_allclose(logits.mean(axis=[1, 2]).numpy(), means, rtol=0, atol=2e-5 * np.abs(means).max())
    assert list(pasted.shape) == arrays["eval.mask.shape"].tolist()
    assert np.abs(pasted.sum(axis=(1, 2)).astype(int) - arrays["eval.mask.area"]).max() <= 1
    first = np.unpackbits(arrays["eval.mask.first"])
    assert (pasted[:4].flatten() != first).sum() <= 1
