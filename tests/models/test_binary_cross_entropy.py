"""Binary cross-entropy of logits: value and gradient at 0, far from 0 and in float64's precision."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from ppkd.distill.losses.gid_terms import response_terms

from ppkd.distill.divergence import KDQualityFocalLoss
from ppkd.distill.losses.yolov3_fine_grained import DistillYOLOv3Loss
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy
from ppkd.models.losses.focal_loss import FocalLoss
from ppkd.models.losses.quality_focal_loss import QualityFocalLoss
from ppkd.models.losses.varifocal_loss import VarifocalLoss
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record


def value_and_gradient(logits, targets):
    leaf = paddle.to_tensor(logits, stop_gradient=False)
    loss = binary_cross_entropy(leaf, paddle.to_tensor(targets, "float32"))
    return loss.numpy(), paddle.grad(loss.sum(), leaf)[0].numpy()


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_at_a_logit_of_0(target):
    loss, gradient = value_and_gradient(np.float32([0.0, -0.0]), [target, target])
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(gradient, 0.5 - target, rtol=1e-6)


def test_far_from_0():
    loss, gradient = value_and_gradient(np.float32([1e30, -1e30, 1e4, -1e4, 1e4, -1e4]), [1, 0, 0, 1, 1, 0])
    np.testing.assert_array_equal(loss, np.float32([0, 0, 1e4, 1e4, 0, 0]))
    np.testing.assert_array_equal(gradient, [0, 0, 1, -1, 0, 0])


def test_against_float64():
    random = np.random.RandomState(0)
    logits = (5 * random.randn(50, 20)).astype("float32")
    targets = random.rand(50, 20).astype("float32")
    exact, aim = logits.astype("float64"), targets.astype("float64")
    loss, gradient = value_and_gradient(logits, targets)
    assert loss.dtype == np.float32 and loss.shape == (50, 20)
    np.testing.assert_allclose(loss, np.logaddexp(0, exact) - exact * aim, rtol=1e-5, atol=3e-6)
    np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-exact)) - aim, atol=3e-7)


def test_half_precision_is_computed_in_float32():
    logits = paddle.to_tensor([0.0, 3.0], "float16")
    loss = binary_cross_entropy(logits, paddle.to_tensor([0.3, 0.9]))
    assert loss.dtype == paddle.float32
    np.testing.assert_allclose(loss, [np.log(2), np.log1p(np.exp(3)) - 2.7], rtol=1e-6)


LABELS = paddle.to_tensor([[0, 3, 1]])
QUALITY = paddle.to_tensor([[0.3, 0.0, 0.9]])
TEACHER = paddle.to_tensor([[[0.7, -1.2, 2.0], [-0.4, 1.5, -3.0], [0.1, 0.2, -0.6]]])


def yolo_record(logits):
    """[1, 3, 3] read as one anchor's numbers at three cells."""
    cells = logits.transpose([0, 2, 1]).reshape([1, 1, 3, 3, 1])
    entries = {
        "cls_logits": Entry("class", "grid", (LevelSpec(3, 8),), activation="sigmoid"),
        "objectness": Entry("quality", "grid", (LevelSpec(1, 8),), activation="sigmoid"),
        "box_xywh": Entry("box", "grid", (LevelSpec(4, 8),), coding="yolo"),
    }
    boxes = paddle.concat([cells, cells[:, :, :1]], axis=2)
    tensors = {"cls_logits": [cells], "objectness": [cells[:, :, :1]], "box_xywh": [boxes]}
    return Record(DetectorSpec("YOLOv3", 3, entries), tensors)


USERS = {
    "focal": lambda logits: FocalLoss()(logits, LABELS),
    "quality focal": lambda logits: QualityFocalLoss()(logits, LABELS, QUALITY),
    "varifocal": lambda logits: VarifocalLoss()(logits, LABELS, QUALITY),
    "CrossKD": lambda logits: KDQualityFocalLoss()(logits, TEACHER),
    "GID": lambda logits: response_terms((logits, TEACHER), (TEACHER, TEACHER), TEACHER[..., 0] < 9)[0],
    "YOLOv3 fine-grained": lambda logits: DistillYOLOv3Loss()(yolo_record(logits), yolo_record(TEACHER)),
}


@pytest.mark.parametrize("name", USERS)
def test_a_logit_of_0_has_the_gradient_of_its_neighbours(name):
    def gradient(number):
        logits = paddle.full([1, 3, 3], number)
        logits.stop_gradient = False
        return paddle.grad(USERS[name](logits), logits)[0].numpy()

    np.testing.assert_allclose(gradient(0.0), gradient(1e-6), rtol=1e-4, atol=1e-7)
