"""DETRDistill against its formulas written with loops, and what must hold beyond its numbers."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import paddle
import pytest
from query_records import CHANNELS, CLASSES, IMAGES, QUERIES, SIZE, Asked, corners, giou, numbers, record, sigmoid, spec

from ppkd.distill import Progress
from ppkd.distill.losses import DETRDistill, DETRDistillFeatures
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

BOXES = np.float32([[[8, 8, 40, 32], [20, 30, 60, 60]], [[0, 0, 0, 0], [0, 0, 0, 0]]])
TRUTH = Truth.around(paddle.to_tensor(BOXES))


def value_of(kind, own, taught, **settings):
    student, teacher = Asked(record(own)).side, Asked(record(taught)).side
    return kind(student.spec, teacher.spec, **settings)(student, teacher, TRUTH, Progress())


def cost(s, t, box, wanted):
    probability = sigmoid(t)
    classes = -(probability * np.log(sigmoid(s)) + (1 - probability) * np.log(1 - sigmoid(s))).sum()
    return classes + 5 * np.abs(box - wanted).sum() + 2 * (1 - giou(corners(box), corners(wanted)))


def matched(own, taught, i, j):
    """The least sum of costs over all ways to match, over the images, divided by the number of matched queries."""
    total = count = 0
    for image in range(IMAGES):
        rows, columns = (
            list(zip(arrays["query_logits"][k][image], arrays["query_boxes"][k][image], strict=True))
            for arrays, k in ((own, i), (taught, j))
        )
        costs = np.array([[cost(s, t, box, wanted) for t, wanted in columns] for s, box in rows])
        costs = costs if costs.shape[0] <= costs.shape[1] else costs.T
        few = costs.shape[0]
        ways = permutations(range(costs.shape[1]), few)
        total += min(costs[range(few), list(way)].sum() for way in ways)
        count += few
    return total / count


@pytest.mark.parametrize(("queries", "other"), [(5, 5), (5, 3), (3, 5)])
def test_all_queries_are_matched_with_all_at_the_least_cost(queries, other):
    own, taught = numbers(0, queries=queries), numbers(1, queries=other)
    expected = sum(matched(own, taught, i, i) for i in range(3))
    assert value_of(DETRDistill, own, taught).item() == pytest.approx(expected, rel=1e-5)


def test_layers_pair_from_the_last_backwards():
    own, taught = numbers(0, layers=3), numbers(1, layers=2)
    expected = matched(own, taught, 1, 0) + matched(own, taught, 2, 1)
    assert value_of(DETRDistill, own, taught).item() == pytest.approx(expected, rel=1e-5)


def test_the_same_queries_in_another_order_have_no_gradient():
    own = numbers(0)
    order = np.random.default_rng(0).permutation(QUERIES)
    shuffled = {name: [stage[:, order] for stage in own[name]] for name in ("query_logits", "query_boxes")}
    student, teacher = record(own), record({**own, **shuffled})
    loss = DETRDistill(student.spec, teacher.spec)
    value = loss(Asked(student).side, Asked(teacher).side, TRUTH, Progress())
    value.backward()
    entropy = sum(-(p * np.log(p) + (1 - p) * np.log(1 - p)).sum() for p in map(sigmoid, own["query_logits"]))
    assert value.item() == pytest.approx(entropy / (IMAGES * QUERIES), rel=1e-5)
    for stage in student["query_logits"]:
        np.testing.assert_allclose(stage.grad.numpy(), 0, atol=1e-7)
    assert all(stage.grad is None for name in ("query_logits", "query_boxes") for stage in teacher[name])


def test_numbers_that_are_not_finite_reach_the_loss_and_no_assignment_fails():
    own = numbers(0)
    own["query_logits"][1][0, 2] = np.nan
    assert np.isnan(value_of(DETRDistill, own, numbers(1)).item())


def overlap(box, other):
    shared = np.prod(np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None))
    return shared / (np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2]) - shared)


def masks(taught, level, stage, number):
    """The masks [N, H, W] of one level and one layer."""
    maps, found = taught["memory"][level][:, 0], []
    for image in range(IMAGES):
        chances = sigmoid(taught["query_logits"][stage][image])
        pairs = sorted(((chances[q, c], q) for q in range(QUERIES) for c in range(CLASSES)), reverse=True)[:number]
        mask = np.zeros(maps.shape[2:])
        for chance, query in pairs:
            box = SIZE * corners(taught["query_boxes"][stage][image, query])
            quality = chance * (max(overlap(box, one) for one in BOXES[0]) if image == 0 else 1)
            feature = taught["query_features"][stage][image, query]
            norms = np.linalg.norm(feature) * np.linalg.norm(maps[image], axis=0)
            mask += quality * np.tensordot(feature, maps[image], axes=1) / norms
        mask = np.maximum(mask, 1e-2)
        found.append(mask / mask.max())
    return np.stack(found)


@pytest.mark.parametrize("number", [4, 100])
def test_maps_are_compared_where_queries_find_objects(number):
    own, taught = numbers(0), numbers(1)
    expected = 0.0
    for level in range(2):
        s, t = own["memory"][level][:, 0], taught["memory"][level][:, 0]
        for stage in range(3):
            mask = masks(taught, level, stage, number)[:, None]
            expected += ((mask * t - mask * s) ** 2).mean()
    assert value_of(DETRDistillFeatures, own, taught, number=number).item() == pytest.approx(expected, rel=1e-5)


def test_equal_maps_have_no_loss_and_other_channels_are_aligned():
    assert value_of(DETRDistillFeatures, numbers(0), {**numbers(1), "memory": numbers(0)["memory"]}).item() == 0
    student, teacher = record(numbers(0, channels=4), channels=4), record(numbers(1))
    loss = DETRDistillFeatures(student.spec, teacher.spec)
    assert [formula.align.weight.shape[:2] for formula in loss.formulas] == [[CHANNELS, 4]] * 2
    loss(Asked(student).side, Asked(teacher).side, TRUTH, Progress()).backward()
    assert all(level.grad.abs().sum() > 0 for level in student["memory"])
    assert all(parameter.grad is not None for parameter in loss.parameters())
    assert all(stage.grad is None for stages in teacher.tensors.values() for stage in stages)


@pytest.mark.parametrize("kind", [DETRDistill, DETRDistillFeatures])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation": "softmax"}, "reads query_logits through a sigmoid"),
        ({"coding": "corners"}, "reads query_boxes as cxcywh, but Some records them as corners"),
    ],
)
def test_other_answers_are_refused(kind, settings, message):
    with pytest.raises(SpecError, match=rf"{kind.__name__} {message}"):
        kind(spec(), spec(**settings))


def test_other_classes_are_refused_where_answers_are_compared():
    with pytest.raises(SpecError, match=r"DETRDistill: query_logits differs: .* same num_classes"):
        DETRDistill(spec(), spec(classes=CLASSES + 1))
    assert DETRDistillFeatures(spec(), spec(classes=CLASSES + 1)).default_weight == 20
