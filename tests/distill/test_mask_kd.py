"""The loss between masks: its numbers, and which masks it compares."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from loss_cases import leaf
from narrow import narrow
from sides import side

from ppkd.config import load_config
from ppkd.distill import Progress
from ppkd.distill.losses import MaskKD, MaskKDLoss
from ppkd.models import build_detector
from ppkd.structures import DetectorSpec, Entry, LevelSpec
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

SMALL = ["FPN.out_channel=16", "TwoFCHead.out_channel=16", "MaskFeat.num_convs=1", "MaskFeat.out_channel=8"]


def spec(classes=3, masks=("masks",)):
    entries = {
        "neck": Entry("feature", "grid", (LevelSpec(8, 4),)),
        "proposals": Entry.rows("box", 4, coding="corners"),
        "roi_logits": Entry.rows("class", classes + 1, activation="softmax"),
    }
    return DetectorSpec("Some", classes, entries, frozenset({"assign", *masks}))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_values_and_gradients(temperature):
    rng = np.random.default_rng(0)
    own, soft = (rng.normal(0, 3, (2, 3, 4, 4)).astype("float32") for _ in range(2))
    counted = np.array([[1, 1, 0], [1, 0, 0]], bool)
    student, teacher = leaf(own), leaf(soft)
    value = MaskKDLoss(temperature)(student, teacher, paddle.to_tensor(counted))
    p, q = (1 / (1 + np.exp(-logits.astype("float64") / temperature)) for logits in (soft, own))
    each = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert value.item() == pytest.approx(temperature**2 * each[counted].mean(), rel=1e-5)
    value.backward()
    expected = temperature * (q - p) * counted[..., None, None] / (counted.sum() * 16)
    np.testing.assert_allclose(student.grad.numpy(), expected, rtol=1e-4, atol=1e-7)
    assert teacher.grad is None


def test_what_has_no_masks_or_other_classes_is_refused():
    for student, teacher, message in [
        (spec(masks=()), spec(), "MaskKD needs masks of Some"),
        (spec(), spec(masks=()), "MaskKD needs masks of Some"),
        (spec(3), spec(4), "MaskKD.*roi_logits"),
    ]:
        with pytest.raises(SpecError, match=message):
            MaskKD(student, teacher)


def test_masks_at_the_students_proposals_on_objects(root):
    path = root / "configs/shapes/mask_rcnn_r18_160_shapes.yml"
    paddle.seed(0)
    student, teacher = (build_detector(load_config(path, [*SMALL, *narrow(load_config(path))])) for _ in range(2))
    teacher.eval()
    boxes = [paddle.to_tensor([[4.0, 4, 40, 50], [30, 20, 60, 60]]), paddle.zeros([0, 4])]
    batch = {
        "image": paddle.randn([2, 3, 64, 64]),
        "im_shape": paddle.full([2, 2], 64.0),
        "scale_factor": paddle.ones([2, 2]),
        "gt_bbox": boxes,
        "gt_class": [paddle.to_tensor([1, 3]), paddle.zeros([0], dtype="int64")],
    }
    record, truth = student.extract(batch), Truth.of(batch)
    targets = student.assign(record, truth)
    with paddle.no_grad():
        soft = teacher.extract(batch, like=record)
    loss = MaskKD(student.spec(), teacher.spec())
    sides = side(record, student, targets), side(soft, teacher)
    value = loss(*sides, truth, Progress())
    value.backward()
    assert value.item() > 0
    assert all(one.grad.abs().max().item() > 0 for one in student.mask_head.head.parameters())
    assert student.bbox_head.bbox_score.weight.grad is None
    assert loss(sides[0], side(record, student), truth, Progress()).item() == pytest.approx(0, abs=1e-6)
