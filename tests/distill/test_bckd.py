"""BCKD against its formulas written with loops, and what must hold beyond its numbers."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppkd.distill import Progress
from ppkd.distill.losses import BCKD
from ppkd.distill.side import Side
from ppkd.models.assigners.place_targets import PlaceTargets
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

CLASSES, COUNTS = 3, (16, 4)


def spec(activation="sigmoid", abilities=("assign", "boxes")):
    levels = (LevelSpec(CLASSES, 8, 1), LevelSpec(CLASSES, 16, 1))
    return DetectorSpec(
        "Some", CLASSES, {"cls_logits": Entry("class", "grid", levels, activation=activation)}, frozenset(abilities)
    )


def logits(seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 1.5, (2, 1, CLASSES, size, size)).astype("float32") for size in (4, 2)]


def boxes(seed):
    rng = np.random.default_rng(seed)
    low = [rng.uniform(0, 20, (2, count, 2)) for count in COUNTS]
    return [np.concatenate([at, at + rng.uniform(2, 20, at.shape)], axis=2).astype("float32") for at in low]


def sided(levels, corners, targets=None):
    record = Record(spec(), {"cls_logits": [paddle.to_tensor(level, stop_gradient=False) for level in levels]})
    return Side(record, {"boxes": lambda record: [paddle.to_tensor(one) for one in corners]}, targets)


def assigned(positives, ignored=()):
    """Targets in which the places ``positives`` (image, place) answer for the first box of their image."""
    labels, positive = np.full((2, sum(COUNTS)), CLASSES), np.zeros((2, sum(COUNTS)), "float32")
    for place in positives:
        labels[place], positive[place] = 1, 1
    for place in ignored:
        labels[place] = -1
    return PlaceTargets(*map(paddle.to_tensor, (labels, positive, np.zeros(labels.shape, "int64"))))


def truth():
    return Truth.of({"gt_bbox": [paddle.ones([1, 4])] * 2, "gt_class": [paddle.ones([1], "int64")] * 2})


def loss_of(student, teacher, **settings):
    return BCKD(spec(), spec(), **settings)(student, teacher, truth(), Progress())


def giou(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.clip(high - low, 0, None))
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared
    around = np.prod(np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2]))
    return shared / union - (around - union) / around


def plain(student, teacher, own, other, counted, positives):
    """Both parts over the ``counted`` places (image, place), cell by cell."""
    joined = [np.concatenate([level.reshape(2, CLASSES, -1) for level in one], 2) for one in (student, teacher)]
    s, t = (1 / (1 + np.exp(-one.astype("float64"))) for one in joined)
    corners = [np.concatenate(one, 1).astype("float64") for one in (own, other)]
    classes = regression = 0.0
    for image, place in counted:
        p, q = s[image, :, place], t[image, :, place]
        classes += (-(q * np.log(p) + (1 - q) * np.log(1 - p)) * abs(q - p)).sum()
        regression += abs(q - p).max() * (1 - giou(corners[0][image, place], corners[1][image, place]))
    return classes / positives, regression / positives


def test_both_parts_are_the_formulas() -> None:
    targets = assigned([(0, 3), (1, 5), (1, 17)], ignored=[(0, 9)])
    student, teacher, own, other = logits(0), logits(1), boxes(2), boxes(3)
    counted = [(i, k) for i in range(2) for k in range(sum(COUNTS)) if (i, k) != (0, 9)]
    classes, regression = plain(student, teacher, own, other, counted, 3)
    sides = sided(student, own, targets), sided(teacher, other)
    assert loss_of(*sides, box_weight=0.0).item() == pytest.approx(classes, rel=1e-5)
    assert loss_of(*sides, cls_weight=0.0).item() == pytest.approx(4 * regression, rel=1e-5)


def test_a_level_without_a_positive_place_does_not_count() -> None:
    targets = assigned([(0, 3), (1, 5)])
    student, teacher, own, other = logits(0), logits(1), boxes(2), boxes(3)
    fine = [(i, k) for i in range(2) for k in range(COUNTS[0])]
    classes, regression = plain(student, teacher, own, other, fine, 2)
    found = loss_of(sided(student, own, targets), sided(teacher, other))
    assert found.item() == pytest.approx(classes + 4 * regression, rel=1e-5)
    assert loss_of(sided(student, own, assigned([])), sided(teacher, other)).item() == 0


def test_equal_sides_have_no_loss_and_the_factor_of_the_classes_has_a_gradient() -> None:
    targets = assigned([(0, 3), (1, 17)])
    same = sided(logits(0), boxes(0), targets)
    assert loss_of(same, sided(logits(0), boxes(0))).item() == 0
    student = sided(logits(0), boxes(0), targets)
    loss_of(student, sided(logits(1), boxes(1)), box_weight=0.0).backward()
    found = student.record["cls_logits"][0].grad.numpy()[0, 0, 0, 0, 0]
    steps = []
    for sign in (1, -1):
        moved = logits(0)
        moved[0][0, 0, 0, 0, 0] += sign * 1e-2
        steps.append(loss_of(sided(moved, boxes(0), targets), sided(logits(1), boxes(1)), box_weight=0.0).item())
    assert found == pytest.approx((steps[0] - steps[1]) / 2e-2, rel=1e-2)


def test_the_box_weight_has_no_gradient_to_the_classes() -> None:
    student = sided(logits(0), boxes(0), assigned([(0, 3), (1, 17)]))
    loss_of(student, sided(logits(1), boxes(1)), cls_weight=0.0)
    assert all(level.grad is None for level in student.record["cls_logits"])


def test_softmax_classes_are_refused() -> None:
    with pytest.raises(SpecError, match="BCKD"):
        BCKD(spec(), spec("softmax"))
    with pytest.raises(SpecError, match="boxes"):
        BCKD(spec(), spec(abilities=()))
