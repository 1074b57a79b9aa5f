"""Mask R-CNN learns a picture by heart, with masks, and its parts refuse what does not fit."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from narrow import narrow

from ppkd.config import load_config
from ppkd.data.outlines import Outlines, of_bitmap
from ppkd.models import build_detector
from ppkd.models.postprocess.mask_post_process import MaskPostProcess
from ppkd.models.pruning.trace import trace
from ppkd.utils.errors import ConfigError

SIDE, STEPS = 64, 150
SMALL = ["FPN.out_channel=32", "TwoFCHead.out_channel=64", "MaskFeat.num_convs=1", "MaskFeat.out_channel=32"]


def shapes():
    """An ellipse and a ring, bool (2, 64, 64)."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    far = np.hypot(x - 44, y - 40)
    return np.stack([np.hypot((x - 18) / 12, (y - 22) / 18) < 1, (far < 17) & (far > 8)])


def batch(masks):
    """One image of noise in which the objects of ``masks`` are brighter, of classes 1 and 3."""
    noise = np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE)) * 0.3
    places = [np.nonzero(mask) for mask in masks]
    boxes = [[x.min(), y.min(), x.max() + 1, y.max() + 1] for y, x in places]
    return {
        "image": paddle.to_tensor((noise + masks.sum(axis=0)).astype("float32")),
        "im_shape": paddle.full([1, 2], float(SIDE)),
        "scale_factor": paddle.ones([1, 2]),
        "gt_bbox": [paddle.to_tensor(boxes, dtype="float32")],
        "gt_class": [paddle.to_tensor([1, 3])],
        "gt_poly": [paddle.to_tensor(Outlines.of([of_bitmap(mask) for mask in masks]).padded())],
    }


def small(root, *overrides):
    path = root / "configs/shapes/mask_rcnn_r18_160_shapes.yml"
    return build_detector(load_config(path, [*SMALL, *narrow(load_config(path)), *overrides]))


@pytest.mark.slow
def test_a_picture_is_learned_by_heart(root):
    paddle.seed(0)
    model, masks = small(root), shapes()
    inputs = batch(masks)
    clip = paddle.nn.ClipGradByGlobalNorm(35.0)
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters(), grad_clip=clip)
    model.train()
    for _ in range(STEPS):
        losses = model(inputs)
        losses["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()
    model.eval()
    with paddle.no_grad():
        found = model.predict(inputs)
    rows, drawn = found["bbox"].numpy(), found["mask"].numpy() > 0
    assert drawn.shape == (len(rows), SIDE, SIDE)
    for label, mask in zip((1, 3), masks, strict=True):
        own = drawn[rows[:, 0] == label][0]
        assert (own & mask).sum() / (own | mask).sum() > 0.8
    assert not drawn[rows[:, 0] == 3][0][38:42, 42:46].any()


def test_objects_without_a_mask_and_images_without_objects_teach_none(root):
    paddle.seed(0)
    model, inputs = small(root), batch(shapes())
    inputs["gt_poly"] = [paddle.zeros([2, 1, 1, 4])]
    losses = model(inputs)
    assert losses["loss_mask"].item() == 0
    losses["loss"].backward()
    assert all(one.grad is not None for one in model.mask_head.parameters())
    empty = {**inputs, "gt_bbox": [paddle.zeros([0, 4])], "gt_class": [paddle.zeros([0], dtype="int64")]}
    assert model({**empty, "gt_poly": [paddle.zeros([0, 1, 1, 4])]})["loss_mask"].item() == 0


def test_nothing_found_has_no_masks(root):
    model = small(root, "BBoxPostProcess.nms.score_threshold=1.0")
    model.eval()
    with paddle.no_grad():
        found = model.predict(batch(shapes()))
    assert (found["bbox"].numpy()[:, 0] < 0).all()
    assert len(found["mask"]) == len(found["bbox"])


def test_masks_are_stretched_over_their_boxes():
    """As bilinear interpolation between the middles of the cells has it, and nothing beyond the box."""
    masks = paddle.to_tensor([[[1.0, 1], [0, 0]], [[1, 0], [1, 0]]])
    boxes = paddle.to_tensor([[2.0, 0, 6, 8], [0, 2, 8, 6]])
    pasted = MaskPostProcess(binary_thresh=0.4)(masks, boxes, paddle.to_tensor([[8.0, 10], [6, 4]])).numpy()
    expected = np.zeros((2, 8, 10), np.uint8)
    expected[0, :4, 2:6] = 1
    expected[1, 2:6, :4] = 1
    np.testing.assert_array_equal(pasted, expected)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("MaskHead.share_bbox_feat=true", "MaskHead reads a feature pyramid"),
        ("MaskAssigner.mask_resolution=14", "write mask_resolution: 28"),
    ],
)
def test_what_does_not_fit_is_refused(root, override, message):
    with pytest.raises(ConfigError, match=message):
        small(root, override)


def test_pruning_is_refused(root):
    with pytest.raises(ConfigError, match="MaskRCNN is not pruned: its masks are not traced"):
        trace(small(root))
