"""Decoding and suppression on cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import paddle

from ppkd.models.postprocess.bbox_post_process import BBoxPostProcess
from ppkd.models.postprocess.dense_decode import count_places, join_levels
from ppkd.models.postprocess.multiclass_nms import MultiClassNMS
from ppkd.models.postprocess.rcnn_box import RCNNBox
from ppkd.models.postprocess.yolo_box import YOLOBox


def logit(p):
    return math.log(p / (1 - p))


def raw_map():
    """One level of 1 x 2 cells, one anchor and two classes; only the second cell holds a confident box."""
    raw = paddle.full([1, 7, 1, 2], -20.0)
    raw[0, :, 0, 1] = paddle.to_tensor([logit(0.25), 0.0, 0.0, math.log(0.5), logit(0.8), logit(0.5), -20.0])
    return raw


def test_a_cell_is_decoded_to_original_pixels():
    """Input 64 x 32 (w x h) at scale 0.5 of 128 x 64; centre x (1 + 0.25) / 2, y 0.5 / 1; anchor 20 x 16."""
    decode = YOLOBox(num_classes=2)
    shape, scale = paddle.to_tensor([[32.0, 64.0]]), paddle.to_tensor([[0.5, 0.5]])
    boxes, scores = decode([raw_map()], [[20.0, 16.0]], shape, scale)
    np.testing.assert_allclose(boxes[0, 1].numpy(), [80 - 20, 32 - 8, 80 + 20, 32 + 8], atol=1e-3)
    np.testing.assert_allclose(scores[0].numpy(), [[0, 0.4], [0, 0]], atol=1e-5)


CUT = paddle.to_tensor([[320.0, 320.0]])
CUT_SCALE = paddle.to_tensor([[320 / 211, 320 / 217]])


def test_the_cut_size_is_below_the_original_one():
    """What the next two tests rest on: 211 x 217 pixels come back from float32 as a little less."""
    assert ((CUT / CUT_SCALE).astype("int32") == paddle.to_tensor([210, 216], "int32")).all()


def test_yolo_rounds_the_original_size():
    """A box around everything ends at the last pixel of 217 x 211 (w x h)."""
    raw = raw_map()
    raw[0, 2:4, 0, 1] = 5.0
    boxes, _ = YOLOBox(num_classes=2)([raw], [[20.0, 16.0]], CUT, CUT_SCALE)
    assert boxes[0, 1].tolist() == [0, 0, 216, 210]


def test_two_stage_detectors_round_the_original_size():
    logits, deltas = paddle.to_tensor([[[9.0, 0.0]]]), paddle.to_tensor([[[0.0, 0.0, 20.0, 20.0]]])
    proposals = paddle.to_tensor([[[0.0, 0.0, 320.0, 320.0]]]), paddle.to_tensor([[True]])
    decode = RCNNBox(num_classes=1)
    boxes, _ = decode((logits, deltas), proposals, CUT, CUT_SCALE)
    np.testing.assert_allclose(boxes[0, 0, 0].numpy(), [0, 0, 217, 211], rtol=1e-6)
    boxes, _ = decode((logits, deltas), proposals, CUT + 0.25, CUT_SCALE)
    assert boxes[0, 0, 0].tolist() == [0, 0, 217, 211]


def test_suppression_is_per_class_and_counts_per_image():
    boxes = paddle.to_tensor([[[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], [[0.0, 0, 1, 1]] * 3])
    scores = paddle.to_tensor([[[0.9, 0.8, 0.2], [0.3, 0.7, 0.005]], [[0.0] * 3] * 2])
    found, counts = MultiClassNMS(score_threshold=0.01, nms_threshold=0.45, nms_top_k=100)(boxes, scores)
    assert counts.tolist() == [3, 0]
    np.testing.assert_allclose(
        found.numpy(), [[0, 0.9, 0, 0, 10, 10], [0, 0.2, 20, 20, 30, 30], [1, 0.7, 0, 0, 10, 9]], atol=1e-6
    )


def test_keep_top_k_bounds_an_image():
    boxes = paddle.arange(20, dtype="float32").reshape([1, 20, 1]) * 10 + paddle.to_tensor([0.0, 0, 5, 5])
    scores = paddle.linspace(0.1, 0.9, 20).reshape([1, 1, 20])
    found, counts = MultiClassNMS(keep_top_k=7)(boxes, scores)
    assert counts.tolist() == [7]
    np.testing.assert_allclose(found[:, 1].numpy(), np.linspace(0.1, 0.9, 20)[::-1][:7], rtol=1e-5)


def test_nothing_found_is_an_empty_table():
    post = BBoxPostProcess(decode=YOLOBox(num_classes=2), nms=MultiClassNMS())
    raw = paddle.full([2, 7, 1, 2], -20.0)
    result = post([raw], [[20.0, 16.0]], paddle.ones([2, 2]) * 32, paddle.ones([2, 2]))
    assert result["bbox"].shape == [0, 6]
    assert result["bbox_num"].tolist() == [0, 0]


def test_places_are_counted_as_they_are_joined():
    levels = [paddle.zeros([2, 3, 4, 6, 5]), paddle.zeros([2, 3, 4, 3, 2])]
    assert count_places(levels) == [90, 18]
    assert join_levels(levels).shape == [2, 108, 4]
