"""FGD's masks against a loop over boxes, and cases that are worked by hand."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest

from ppkd.distill.cells.masks import box_masks
from ppkd.structures.truth import Truth


def loop(boxes, shapes, height, width):
    """The masks as the paper's code draws them: box after box, a cell keeps the largest value."""
    inside = np.zeros([len(boxes), height, width], np.float32)
    for i, (some, (image_height, image_width)) in enumerate(zip(boxes, shapes, strict=True)):
        for x1, y1, x2, y2 in some / np.float32([image_width, image_height] * 2) * np.float32([width, height] * 2):
            left, right = max(0, math.floor(x1)), math.ceil(x2)
            top, bottom = max(0, math.floor(y1)), math.ceil(y2)
            part = inside[i, top : bottom + 1, left : right + 1]
            np.maximum(part, 1 / ((bottom + 1 - top) * (right + 1 - left)), out=part)
    empty = (inside == 0).astype(np.float32)
    return inside, empty / np.maximum(empty.sum(axis=(1, 2), keepdims=True), 1)


@pytest.mark.parametrize("counts", [(3, 0), (0, 0), (1, 60), (61, 7), (130, 5)])
def test_masks_equal_a_loop_over_boxes(counts):
    rng = np.random.default_rng(sum(counts))
    shapes = [(90.0, 120.0), (96.0, 101.0)]
    boxes = []
    for count, (height, width) in zip(counts, shapes, strict=True):
        low = rng.uniform(-5, [0.9 * width, 0.9 * height], (count, 2))
        high = np.minimum(low + rng.exponential(15, (count, 2)) + 5, [width, height])
        boxes.append(np.concatenate([low, high], axis=1).astype("float32"))
    found = box_masks(
        Truth.of({"gt_bbox": [paddle.to_tensor(one) for one in boxes]}).boxes, paddle.to_tensor(shapes), 24, 32
    )
    for mask, expected in zip(found, loop(boxes, shapes, 24, 32), strict=True):
        np.testing.assert_allclose(mask.numpy(), expected, rtol=1e-6)


def test_a_box_worked_by_hand():
    boxes = paddle.to_tensor([[8.0, 0.0, 15.0, 8.0], [0.0, 0.0, 32.0, 32.0], [0.0, 0.0, 0.0, 0.0]])
    foreground, background = box_masks(Truth.of({"gt_bbox": [boxes]}).boxes, paddle.to_tensor([[32.0, 32.0]]), 4, 4)
    expected = np.full([4, 4], 1 / 25)
    expected[0:2, 1:3] = 1 / 4
    np.testing.assert_allclose(foreground[0].numpy(), expected, rtol=1e-6)
    assert background.abs().sum().item() == 0


def test_boxes_scale_by_the_image_and_not_by_its_padding():
    box = paddle.to_tensor([[0.0, 0.0, 16.0, 16.0]])
    whole, _ = box_masks(Truth.of({"gt_bbox": [box]}).boxes, paddle.to_tensor([[32.0, 32.0]]), 8, 8)
    padded, _ = box_masks(Truth.of({"gt_bbox": [box]}).boxes, paddle.to_tensor([[32.0, 20.0]]), 8, 8)
    assert (whole[0, 0] > 0).sum().item() == 5
    assert (padded[0, 0] > 0).sum().item() == 8
    assert (padded[0, :, 0] > 0).sum().item() == 5
