"""KD-DETR against its formulas written with loops, which places are asked, and what it refuses."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from query_records import CLASSES, IMAGES, QUERIES, Asked, corners, giou, numbers, record, sigmoid, spec

from ppkd.distill import Progress
from ppkd.distill.losses import KDDETR
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError, SpecError

TRUTH = Truth.around(paddle.zeros([IMAGES, 1, 4]))


def layer(own, taught, i, j, T=10.0):
    """The three sums between layer ``i`` of one and layer ``j`` of the other, query by query."""
    classes = differences = overlaps = total = 0.0
    for image in range(IMAGES):
        for query in range(QUERIES):
            s, t = own["query_logits"][i][image, query], taught["query_logits"][j][image, query]
            p, q = (np.exp(one / T) / np.exp(one / T).sum() for one in (s, t))
            weight = sigmoid(t).max()
            box, wanted = own["query_boxes"][i][image, query], taught["query_boxes"][j][image, query]
            classes += weight * T**2 * (q * np.log(q / p)).mean()
            differences += weight * np.abs(box - wanted).mean()
            overlaps += weight * (1 - giou(corners(box), corners(wanted)))
            total += weight
    return classes + (5 * differences + 2 * overlaps) / total


def loss_of(student, teacher, *, training=True, **settings):
    loss = KDDETR(student.side.spec, teacher.side.spec, **settings)
    loss.train() if training else loss.eval()
    return loss(student.side, teacher.side, TRUTH, Progress())


def test_the_teacher_s_answers_at_its_own_points_teach_the_student_s_there():
    at_points, taught = numbers(1), numbers(2)
    student, teacher = Asked(record(numbers(0)), [record(at_points)]), Asked(record(taught), start=0.25)
    value = loss_of(student, teacher, points=["specific"])
    assert value.item() == pytest.approx(sum(layer(at_points, taught, i, i) for i in range(3)), rel=1e-5)
    (asked,) = student.points
    assert not teacher.points and (asked.boxes == 0.25).all() and asked.cells is not None


def test_at_the_student_s_points_only_the_teacher_is_asked():
    own, answer = numbers(0), numbers(1)
    student, teacher = Asked(record(own)), Asked(record(numbers(2)), [record(answer)])
    value = loss_of(student, teacher, points=["student"], layers="last")
    assert value.item() == pytest.approx(sum(layer(own, answer, i, 2) for i in range(3)), rel=1e-5)
    assert not student.points and (teacher.points[0].boxes == 0.5).all()


def test_both_are_asked_at_random_points_and_kinds_add_up():
    both, taught = (numbers(1), numbers(2)), numbers(3)
    student, teacher = (Asked(record(numbers(0)), [record(one)]) for one in both)
    value = loss_of(student, teacher, points=["general"], general=QUERIES)
    assert value.item() == pytest.approx(sum(layer(*both, i, i) for i in range(3)), rel=1e-5)
    (own,), (other,) = student.points, teacher.points
    assert own.boxes.shape == [IMAGES, QUERIES, 4] and own.cells is None
    np.testing.assert_array_equal(own.boxes.numpy(), other.boxes.numpy())
    assert len(np.unique(own.boxes.numpy())) == own.boxes.size
    student, teacher = Asked(record(numbers(0)), map(record, both)), Asked(record(taught), [record(both[1])])
    found = loss_of(student, teacher, general=QUERIES).item()
    expected = sum(layer(*both[:1], both[1], i, i) + layer(both[1], taught, i, i) for i in range(3))
    assert found == pytest.approx(expected, rel=1e-5)


def test_random_points_differ_between_steps_but_not_in_evaluation():
    def drawn(training):
        student, teacher = (Asked(record(numbers(0)), [record(numbers(seed))]) for seed in (1, 2))
        loss_of(student, teacher, points=["general"], training=training)
        return student.points[0].boxes.numpy()

    assert not (drawn(True) == drawn(True)).any()
    np.testing.assert_array_equal(drawn(False), drawn(False))


@pytest.mark.parametrize(("own", "other", "pairs"), [(3, 2, [(1, 0), (2, 1)]), (2, 3, [(0, 1), (1, 2)])])
def test_layers_pair_from_the_last_backwards(own, other, pairs):
    at_points, taught = numbers(1, own), numbers(2, other)
    student, teacher = Asked(record(numbers(0, own)), [record(at_points)]), Asked(record(taught))
    value = loss_of(student, teacher, points=["specific"])
    assert value.item() == pytest.approx(sum(layer(at_points, taught, i, j) for i, j in pairs), rel=1e-5)


def test_equal_answers_have_no_loss_and_gradients_reach_the_student_alone():
    same, other = numbers(1), record(numbers(2))
    student, teacher = Asked(record(numbers(0)), [record(same)]), Asked(record(same))
    assert loss_of(student, teacher, points=["specific"]).item() == pytest.approx(0, abs=1e-6)
    answer = record(same)
    loss_of(Asked(record(numbers(0)), [answer]), Asked(other), points=["specific"]).backward()
    for name in ("query_logits", "query_boxes"):
        assert all(stage.grad.abs().sum() > 0 for stage in answer[name])
        assert all(stage.grad is None for stage in other[name])


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (spec(classes=CLASSES + 1), "query_logits differs: .* same num_classes"),
        (spec(abilities=["boxes", "points"]), "KDDETR needs answer of Some"),
        (spec(strides=(8, 32)), r"strides \[8, 16\], those of Some at \[8, 32\]: .* points: \[general\]"),
        (spec(activation="softmax"), "KDDETR reads query_logits through a sigmoid"),
        (spec(coding="corners"), "KDDETR reads query_boxes as cxcywh, but Some records them as corners"),
    ],
)
def test_what_cannot_be_compared_is_refused(teacher, message):
    with pytest.raises(SpecError, match=message):
        KDDETR(spec("Student"), teacher)


def test_other_levels_and_channels_will_do_for_random_points():
    loss = KDDETR(spec(), spec(strides=(8, 32), channels=4, layers=6), points=["general"])
    assert loss.stages == [(0, 3), (1, 4), (2, 5)]


@pytest.mark.parametrize("settings", [{"points": []}, {"points": ["general", "general"]}, {"general": 0}])
def test_points_must_be_asked_for(settings):
    with pytest.raises(ConfigError, match=r"KDDETR.points is \["):
        KDDETR(spec(), spec(), **settings)
