"""Which entries OutputL2 compares, what it refuses, and its value by hand; seen through specs of detectors to come."""

from __future__ import annotations

import paddle
import pytest
from loss_cases import leaf
from sides import side

from ppkd.distill import Progress
from ppkd.distill.losses import OutputL2
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError


def levels(channels, strides=(8, 16), anchors=1):
    return tuple(LevelSpec(channels, stride, anchors) for stride in strides)


def dense(name="FCOS", strides=(8, 16), **more):
    entries = {
        "neck": Entry("feature", "grid", levels(4)),
        "cls_logits": Entry("class", "grid", levels(3, strides), activation="sigmoid"),
        "box_distances": Entry("box", "grid", levels(4), coding="distances"),
        **more,
    }
    return DetectorSpec(name, 3, entries)


def queries():
    entries = {
        "neck": Entry("feature", "grid", levels(4)),
        "query_logits": Entry.rows("class", 3, stages=3, activation="sigmoid"),
        "query_boxes": Entry.rows("box", 4, stages=3, coding="cxcywh"),
    }
    return DetectorSpec("Queries", 3, entries)


def record(of, seed):
    paddle.seed(seed)
    tensors = {}
    for name, entry in of.entries.items():
        sides = [64 // level.stride for level in entry.levels]
        anchors = [] if entry.role == "feature" else [1]
        shapes = [[2, *anchors, at.channels, n, n] for at, n in zip(entry.levels, sides, strict=True)]
        tensors[name] = [leaf(paddle.randn(shape).numpy()) for shape in shapes]
    return Record(of, tensors)


def test_it_is_the_mean_over_all_numbers_of_a_level_and_no_gradient_reaches_the_teacher():
    of = dense()
    student, teacher = record(of, 0), record(of, 1)
    loss = OutputL2(of, of)
    assert loss.consumes == ("cls_logits", "box_distances")
    value = loss(side(student), side(teacher), Truth.around(paddle.zeros([2, 1, 4])), Progress())
    expected = 0.0
    for i in range(2):
        gaps = [(student[name][i] - teacher[name][i]).numpy() for name in loss.consumes]
        expected += sum((gap**2).sum() for gap in gaps) / sum(gap.size for gap in gaps)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    value.backward()
    assert all(level.grad is not None for name in loss.consumes for level in student[name])
    assert all(level.grad is None for tensors in teacher.tensors.values() for level in tensors)


def test_an_entry_that_one_detector_lacks_is_left_out():
    rated = dense("Rated", centreness=Entry("quality", "grid", levels(1), activation="sigmoid"))
    assert OutputL2(rated, rated).consumes == ("cls_logits", "box_distances", "centreness")
    assert OutputL2(rated, dense()).consumes == ("cls_logits", "box_distances")


@pytest.mark.parametrize(
    ("student", "teacher", "consumes", "words"),
    [
        (queries(), queries(), None, "OutputL2 compares head entries .* Queries .* share none"),
        (queries(), dense(), None, "Queries records .* FCOS .* share none"),
        (queries(), queries(), ["query_logits"], "OutputL2 compares cell by cell, but Queries"),
        (dense(), dense(), ["neck"], r"OutputL2.consumes names \['neck'\], which are features of FCOS"),
        (dense(strides=(32, 64)), dense(strides=(32, 64)), None, "OutputL2 compares .* FCOS have them at different"),
        (
            *[dense(mask=Entry("mask", "grid", levels(1, anchors=3)))] * 2,
            None,
            "FCOS has {'cls_logits': 1, 'box_distances': 1, 'mask': 3}",
        ),
    ],
)
def test_what_makes_no_map_is_refused(student, teacher, consumes, words):
    with pytest.raises(SpecError, match=words):
        OutputL2(student, teacher, consumes=consumes)
