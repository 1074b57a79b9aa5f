"""Box functions against cases worked by hand and against a plain loop."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppkd.structures.boxes import (
    area,
    cxcywh_to_xyxy,
    decode_deltas,
    encode_deltas,
    pairwise_iou,
    size_iou,
    xyxy_to_cxcywh,
)


def test_corners_and_centres_are_inverse():
    boxes = paddle.to_tensor([[[2.0, 4.0, 8.0, 6.0]], [[0.0, 0.0, 1.0, 3.0]]])
    np.testing.assert_array_equal(xyxy_to_cxcywh(boxes).numpy(), [[[5, 5, 6, 2]], [[0.5, 1.5, 1, 3]]])
    np.testing.assert_array_equal(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)).numpy(), boxes.numpy())


def test_inverted_boxes_have_no_area():
    assert area(paddle.to_tensor([[0.0, 0.0, 2.0, 3.0], [2.0, 0.0, 0.0, 3.0], [2.0, 3.0, 0.0, 0.0]])).tolist() == [
        6,
        0,
        0,
    ]


def test_iou_of_a_hand_worked_case():
    first = paddle.to_tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    second = paddle.to_tensor([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
    np.testing.assert_allclose(pairwise_iou(first, second).numpy(), [[1 / 7, 1, 0], [0, 0, 0]], atol=1e-6)


def test_iou_in_a_batch_equals_a_loop():
    draw = np.random.default_rng(0)
    low, size = draw.uniform(0, 5, (2, 7, 2)), draw.uniform(0.1, 4, (2, 7, 2))
    boxes = np.concatenate([low, low + size], -1).astype("float32")
    first, second = boxes[:, :3], boxes[:, 3:]
    found = pairwise_iou(paddle.to_tensor(first), paddle.to_tensor(second)).numpy()
    for image in range(2):
        for i, a in enumerate(first[image]):
            for j, b in enumerate(second[image]):
                wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                shared = max(wide, 0) * max(high, 0)
                total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
                assert found[image, i, j] == pytest.approx(shared / total, abs=1e-6)


def test_size_iou_ignores_position():
    sizes = paddle.to_tensor([[[10.0, 20.0]]])
    np.testing.assert_allclose(
        size_iou(sizes, paddle.to_tensor([[10.0, 20.0], [20.0, 10.0], [5.0, 10.0]])).numpy(),
        [[[1, 1 / 3, 1 / 4]]],
        atol=1e-6,
    )


def test_deltas_of_a_hand_worked_case_and_their_inverse():
    anchors = paddle.to_tensor([[0.0, 0.0, 10.0, 20.0]])
    boxes = paddle.to_tensor([[[5.0, 0.0, 25.0, 20.0]], [[-3.0, 2.0, 1.0, 7.0]]])
    weights = (10.0, 10.0, 5.0, 5.0)
    deltas = encode_deltas(anchors, boxes, weights)
    np.testing.assert_allclose(deltas[0].numpy(), [[10.0, 0.0, 5 * np.log(2), 0.0]], rtol=1e-6)
    np.testing.assert_allclose(decode_deltas(deltas, anchors, weights).numpy(), boxes.numpy(), atol=1e-5)


def test_decoded_boxes_are_finite():
    box = decode_deltas(paddle.to_tensor([[0.0, 0.0, 1e4, 1e4]]), paddle.to_tensor([[-8.0, -8.0, 8.0, 8.0]]))
    np.testing.assert_allclose(box.numpy(), [[-500.0, -500.0, 500.0, 500.0]], rtol=1e-5)
