"""GID, Global Knowledge and DeFeat on heads that no detector of this package has: they work, or say why not."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppkd.distill import Progress, Side
from ppkd.distill.losses import GID, DeFeatHead, GlobalKnowledge
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

CLASSES, STRIDES = 3, (8, 16)


def grid(role, channels, **reading):
    return Entry(role, "grid", tuple(LevelSpec(channels, stride) for stride in STRIDES), **reading)


def fcos(name="FCOS"):
    entries = {
        "neck": grid("feature", 4),
        "point_logits": grid("class", CLASSES, activation="sigmoid"),
        "box_distances": grid("box", 4, coding="distances"),
        "centreness": grid("quality", 1, activation="sigmoid"),
    }
    return DetectorSpec(name, CLASSES, entries, frozenset({"features", "scores", "boxes", "assign"}))


def queries(name="Queries", stages=3):
    entries = {
        "neck": grid("feature", 4),
        "query_logits": Entry.rows("class", CLASSES, stages=stages, activation="sigmoid"),
        "query_boxes": Entry.rows("box", 4, stages=stages, coding="cxcywh"),
    }
    return DetectorSpec(name, CLASSES, entries, frozenset({"features", "scores", "boxes", "assign", "at"}))


def bare(name="Neck"):
    return DetectorSpec(name, CLASSES, {"neck": grid("feature", 4)}, frozenset({"features", "assign"}))


def record(spec, seed):
    """A record of noise for two images of 64 x 64 pixels, whose tensors collect gradients."""
    paddle.seed(seed)

    def noise(entry, level):
        anchors = [] if entry.role == "feature" else [level.anchors]
        side = 64 // level.stride
        made = paddle.randn([2, *anchors, level.channels, side, side])
        made.stop_gradient = False
        return made

    return Record(spec, {name: [noise(entry, level) for level in entry.levels] for name, entry in spec.entries.items()})


def boxes(found):
    """Corner boxes of distances to the sides, in strides, around the cells' centres."""
    levels = []
    for level, stride in zip(found["box_distances"], STRIDES, strict=True):
        cells = (paddle.arange(level.shape[-1], dtype="float32") + 0.5) * stride
        x, y = (axis.flatten() for axis in paddle.meshgrid(cells, cells)[::-1])
        sides = level.squeeze(1).flatten(2).transpose([0, 2, 1]).abs() * 2 * stride + 6
        points = paddle.stack([x, y], axis=1)
        levels.append(paddle.concat([points - sides[..., :2], points + sides[..., 2:]], axis=-1))
    return levels


def view(spec, seed):
    """A side of a head whose targets are its own affair."""
    return Side(record(spec, seed), {"boxes": boxes, "assign": lambda record, truth: "its own"}, "its own")


TRUTH = Truth.of(
    {
        "gt_bbox": [paddle.to_tensor([[4.0, 4.0, 40.0, 36.0], [20.0, 10.0, 60.0, 60.0]]), paddle.zeros([0, 4])],
        "gt_class": [paddle.to_tensor([0, 2]), paddle.zeros([0], dtype="int64")],
        "im_shape": paddle.full([2, 2], 64.0),
    }
)


@pytest.mark.parametrize("make", [GID, GlobalKnowledge])
def test_a_head_with_distances_and_centreness_learns(make):
    student, teacher = view(fcos(), 0), view(fcos("Teacher"), 1)
    loss = make(student.spec, teacher.spec)
    value = loss(student, teacher, TRUTH, Progress())
    value.backward()
    assert np.isfinite(value.item()) and value.item() > 0
    for name in ("neck", "point_logits"):
        assert max(level.grad.abs().sum().item() for level in student.record[name]) > 0, name
    assert all(level.grad is None for entry in teacher.record.tensors.values() for level in entry)


@pytest.mark.parametrize("make", [GID, GlobalKnowledge, DeFeatHead])
@pytest.mark.parametrize(
    ("student", "teacher"),
    [(queries(), queries("Other")), (queries(stages=1), queries("Other", 1)), (queries(), fcos("Other"))],
)
def test_queries_are_no_proposals(make, student, teacher):
    with pytest.raises(SpecError, match=f"^{make.__name__}.*Queries.*Other.*proposals.*choose.*two stages"):
        make(student, teacher)


@pytest.mark.parametrize("make", [GID, GlobalKnowledge, DeFeatHead])
def test_a_head_is_missing(make):
    for student, teacher in ((bare(), bare("Other")), (bare(), fcos("Other"))):
        with pytest.raises(SpecError, match=f"{make.__name__}.*Neck.*Other"):
            make(student, teacher)


def test_without_soft_labels_necks_are_enough():
    loss = GlobalKnowledge(queries(), bare("Other"), soft_label=0.0)
    student, teacher = (Side(record(bare(), seed)) for seed in (0, 1))
    assert loss(student, teacher, TRUTH, Progress()).item() > 0
    assert loss.consumes == ("neck",)


@pytest.mark.parametrize(("make", "lacking"), [(GID, "boxes"), (GlobalKnowledge, "features")])
def test_abilities_are_asked_for(make, lacking):
    unable = DetectorSpec("Unable", CLASSES, fcos().entries, fcos().abilities - {lacking})
    with pytest.raises(SpecError, match=f"{make.__name__} needs {lacking} of Unable"):
        make(fcos(), unable)
