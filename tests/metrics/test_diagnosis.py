"""Kinds of error, thresholds and confusions against figures worked out by hand, and COCO's evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from metric_cases import annotation, feed, random_detections, random_truth

from ppkd.metrics import COCOMetric
from ppkd.metrics.diagnosis import (
    Evaluated,
    Kind,
    average_precision,
    confusion,
    error_costs,
    matches,
    tally,
    thresholds,
)
from ppkd.metrics.diagnosis.errors import kinds
from ppkd.metrics.diagnosis.matching import Pairs, claim

A, B, C, D = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60], [200, 200, 220, 220]
FOUND = [
    [0, 0.9, *A],
    [0, 0.8, *A],
    [0, 0.7, *B],
    [0, 0.6, 54, 50, 64, 60],
    [1, 0.5, 80, 80, 90, 90],
    [1, 0.4, 6, 0, 16, 10],
]


@pytest.fixture
def one_of_each():
    """An image with one detection of each kind, and a box that nothing explains."""
    return matches(Evaluated.of([annotation(7, [A, B, C, D], [0, 1, 0, 1])], 2, {7: np.array(FOUND)}))


def test_each_detection_is_of_tides_kind(one_of_each):
    kind, target = kinds(one_of_each)
    assert kind.tolist() == [Kind.RIGHT, Kind.DUPLICATE, Kind.CLASS, Kind.PLACE, Kind.BACKGROUND, Kind.BOTH]
    assert target.tolist() == [-1, -1, 1, 2, -1, -1]


def test_each_kind_costs_what_mending_it_alone_gains(one_of_each):
    costs = {cost.kind: (cost.count, cost.cost) for cost in error_costs(one_of_each)}
    # Before, class 0 has precision 1 up to a recall of a half, 51 of 101 places, and class 1 nothing.
    assert costs[Kind.CLASS] == (1, pytest.approx(51 / 2 / 101))
    assert costs[Kind.PLACE] == (1, pytest.approx(50 * 0.5 / 2 / 101))
    assert costs[Kind.MISSED] == (1, 0.0)
    for harmless in (Kind.BOTH, Kind.DUPLICATE, Kind.BACKGROUND):
        assert costs[harmless] == (1, 0.0)


def test_a_box_is_mended_to_once():
    found = {7: np.array([[0, 0.9, 4, 0, 14, 10], [0, 0.8, 4, 0, 14, 10]])}
    place = error_costs(matches(Evaluated.of([annotation(7, [A], [0])], 1, found)))[1]
    assert (place.kind, place.count, place.cost) == (Kind.PLACE, 2, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_box_goes_to_the_best_detection_that_wants_it_most(seed):
    rng = np.random.default_rng(seed)
    overlap = rng.random((40, 15)) * (rng.random((40, 15)) < 0.3)
    expected, free = [], set(range(15))
    for row in overlap:
        best = max((column for column in free if row[column] > 0), key=lambda column: row[column], default=-1)
        expected.append(best)
        free.discard(best)
    row, column = np.nonzero(overlap)
    order = np.lexsort((-overlap[row, column], row))
    assert claim(Pairs(row[order], column[order], overlap[row, column][order]), 40).tolist() == expected


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_cocos_at_a_half(seed):
    truth = random_truth(seed)
    truth.annotations.sort(key=lambda one: one.im_id)
    rng = np.random.default_rng(seed)
    found = random_detections(truth, seed)
    for rows in found.values():
        rows[:, 1] = -np.sort(-rng.random(len(rows)))
        rows[:, 4:] = np.maximum(rows[:, 4:], rows[:, 2:4] + 1)
    metric = COCOMetric(truth)
    feed(metric, found)
    met = matches(Evaluated.of(truth.annotations, 4, found))
    own = average_precision(met.evaluated.found.label[met.counted], met.right[met.counted], met.evaluated.positives)
    assert own == pytest.approx(metric.accumulate()["AP50"], abs=1e-9)


def test_thresholds_count_what_scores_enough(one_of_each):
    found = thresholds(one_of_each)
    assert found.at(0.0) == pytest.approx((1 / 6, 1 / 4, 2 / 10))
    assert found.at(0.9) == pytest.approx((1.0, 1 / 4, 2 / 5))
    assert found.at(0.95) == (0.0, 0.0, 0.0)
    assert found.best == pytest.approx(0.81)
    assert thresholds(one_of_each, 1).f1.max() == 0


def test_confusion_has_boxes_by_row_and_what_they_were_taken_for_by_column(one_of_each):
    assert confusion(one_of_each, 0.65).tolist() == [[1, 0, 1], [1, 0, 1], [1, 0, 0]]
    assert confusion(one_of_each, 0.95).tolist() == [[0, 0, 2], [0, 0, 2], [0, 0, 0]]


def test_difficult_boxes_neither_reward_nor_punish():
    image = annotation(7, [A, B], [0, 0], difficult=[1, 0])
    met = matches(Evaluated.of([image], 1, {7: np.array([[0, 0.9, *A], [0, 0.8, *B]])}))
    assert met.counted.tolist() == [False, True]
    assert thresholds(met).at(0.5) == (1.0, 1.0, 1.0)


def test_each_image_has_its_counts():
    images = [annotation(7, [A, B], [0, 0]), annotation(8, [], []), annotation(9, [C], [0])]
    found = {7: np.array([[0, 0.9, *A], [0, 0.3, *B]]), 8: np.array([[0, 0.9, *A]])}
    counts = tally(matches(Evaluated.of(images, 1, found)), 0.5)
    assert (counts.right.tolist(), counts.wrong.tolist(), counts.missed.tolist()) == ([1, 0, 0], [0, 1, 0], [1, 0, 1])
    assert counts.f1.tolist() == pytest.approx([2 / 3, 0.0, 0.0])


def test_nothing_found_is_no_error():
    met = matches(Evaluated.of([annotation(7, [A], [0])], 2, {}))
    assert [(cost.count, cost.cost) for cost in error_costs(met)] == [(0, 0.0)] * 5 + [(1, 0.0)]
    assert thresholds(met).best == 0.0
    assert confusion(met, 0.5).tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
