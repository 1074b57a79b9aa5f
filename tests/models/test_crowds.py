"""Boxes around crowds: what the two-stage detectors' matchers make of them, by PaddleDetection's rules."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppkd.models.assigners.bbox_assigner import BBoxAssigner
from ppkd.models.assigners.max_iou_assigner import MaxIoUAssigner
from ppkd.models.assigners.rpn_target_assign import RPNTargetAssign
from ppkd.structures.truth import Truth

OBJECT, CROWD = [0.0, 0.0, 40.0, 40.0], [100.0, 100.0, 180.0, 180.0]
ANCHORS = paddle.to_tensor([[0.0, 0.0, 40.0, 36.0], [100.0, 100.0, 180.0, 176.0], [300.0, 300.0, 320.0, 320.0]])
ON_OBJECT, ON_CROWD, ELSEWHERE = range(3)


def truth(boxes, crowd):
    return Truth.of(
        {
            "gt_bbox": [paddle.to_tensor(boxes)],
            "gt_class": [paddle.arange(len(boxes))],
            "is_crowd": [paddle.to_tensor(crowd).reshape([-1, 1])],
        }
    )


def test_a_batch_tells_which_boxes_are_crowds():
    batch = {
        "gt_bbox": [paddle.to_tensor([OBJECT, CROWD]), paddle.to_tensor([OBJECT])],
        "is_crowd": [paddle.to_tensor([0, 1]), paddle.to_tensor([0])],
    }
    known = Truth.of(batch)
    assert known.crowd.tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert known.images(paddle.to_tensor([1])).crowd.tolist() == [[0.0, 0.0]]
    assert Truth.of({"gt_bbox": batch["gt_bbox"]}).crowd is None


@pytest.mark.parametrize(("ignore", "expected"), [(-1.0, [0, 1, 1]), (0.5, [0, -1, 1])])
def test_anchors_on_a_crowd_are_background_or_ignored(ignore, expected):
    """Class 0 is an object, 1 the background."""
    assigner = RPNTargetAssign(use_random=False, ignore_thresh=ignore)
    targets = assigner(ANCHORS, truth([OBJECT, CROWD], [0, 1]), shuffled=False)
    assert targets.labels.tolist() == [expected]


@pytest.mark.parametrize(("ignore", "expected"), [(-1.0, [0, 2, 2]), (0.5, [0, -1, 2])])
def test_proposals_on_a_crowd_are_background_or_ignored(ignore, expected):
    assigner = BBoxAssigner(num_classes=2, ignore_thresh=ignore)
    valid = paddle.ones([1, 3], dtype="bool")
    labels, _ = assigner(ANCHORS.unsqueeze(0), valid, truth([OBJECT, CROWD], [0, 1]))
    assert labels.tolist() == [expected]


def test_in_an_image_of_crowds_alone_everything_is_background():
    targets = RPNTargetAssign(use_random=False, ignore_thresh=0.5)(ANCHORS, truth([CROWD], [1]), shuffled=False)
    assert targets.labels.tolist() == [[1, 1, 1]]


def test_no_ignored_anchor_is_the_best_one_of_an_object():
    """Its best anchor lies in the crowd's reach, so that the next one becomes positive."""
    boxes = [[100.0, 100.0, 180.0, 160.0], CROWD]
    anchors = paddle.to_tensor([[100.0, 100.0, 180.0, 170.0], [100.0, 140.0, 180.0, 160.0]])
    matcher = MaxIoUAssigner(positive_overlap=0.9, negative_overlap=0.3)
    found = matcher(anchors, truth(boxes, [0, 1]), crowd_overlap=0.5)
    assert found.positive.tolist() == [[False, True]] and found.negative.tolist() == [[False, False]]


def test_chosen_proposals_have_no_crowd_among_their_objects():
    assigner = BBoxAssigner(num_classes=2, batch_size_per_im=4, fg_fraction=0.5, use_random=False)
    known = truth([OBJECT, CROWD], [0, 1])
    boxes, number = assigner.choose(ANCHORS.unsqueeze(0), paddle.ones([1, 3], dtype="bool"), known)
    valid = paddle.arange(4).unsqueeze(0) < number.unsqueeze(1)
    labels, _ = assigner(boxes, valid, known)
    assert sorted(labels.numpy()[0].tolist()) == [0, 0, 2, 2]


def test_without_crowds_nothing_changes():
    known = truth([OBJECT, CROWD], [0, 0])
    found, expected = (
        MaxIoUAssigner(positive_overlap=0.7, negative_overlap=0.3)(ANCHORS, known, crowd_overlap=at)
        for at in (0.5, None)
    )
    for name in ("box", "positive", "negative"):
        np.testing.assert_array_equal(getattr(found, name).numpy(), getattr(expected, name).numpy())
