"""Properties of localisation distillation, class distillation and feature imitation."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from sides import side

from ppkd.distill import Progress
from ppkd.distill.general_instances import general_instances
from ppkd.distill.losses import LD, ClassKD, FeatureImitation, RegionFinder
from ppkd.models.losses.normaliser import NormaliserBook
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

SIZE = 128
BOXES = [[10.0, 20.0, 60.0, 70.0], [6.0, 4.0, 122.0, 120.0]]
REGIONS = ["finegrained", "fitnet", "decouple", "gibox"]
LOSSES = [
    (LD, {"region": "main"}),
    (LD, {"region": "valuable"}),
    (ClassKD, {"region": "main"}),
    (ClassKD, {"region": "valuable"}),
    *((FeatureImitation, {"region": region}) for region in REGIONS),
]


def over(losses):
    names = [f"{loss.__name__}-{settings['region']}" for loss, settings in losses]
    return pytest.mark.parametrize(("loss", "settings"), losses, ids=names)


every_loss = over(LOSSES)
no_gibox = over([one for one in LOSSES if one[1]["region"] != "gibox"])
no_background = over([one for one in LOSSES if one[1]["region"] not in ("gibox", "decouple")])


def spec(strides=(8, 16, 32), classes=3, bins=9, channels=4, name="GFL", quality=False):
    def levels(count):
        return tuple(LevelSpec(count, stride) for stride in strides)

    entries = {
        "neck": Entry("feature", "grid", levels(channels)),
        "cls_logits": Entry("class", "grid", levels(classes), activation="sigmoid"),
        "box_dist": Entry("box", "grid", levels(4 * bins), coding="distribution"),
    }
    if quality:
        entries["quality"] = Entry("quality", "grid", levels(1))
    return DetectorSpec(name, classes, entries, frozenset({"assign"}))


def record(of, images=2, seed=0):
    paddle.seed(seed)
    maps = {}
    for key, entry in of.entries.items():
        shapes = [[images, at.channels, SIZE // at.stride, SIZE // at.stride] for at in entry.levels]
        maps[key] = [paddle.randn(shape if key == "neck" else [images, 1, *shape[1:]]) for shape in shapes]
    for levels in maps.values():
        for level in levels:
            level.stop_gradient = False
    return Record(of, maps)


def truth(*counts):
    return Truth.of(
        {
            "gt_bbox": [paddle.to_tensor(BOXES)[:count] for count in counts],
            "gt_class": [paddle.zeros([count], dtype="int64") for count in counts],
        }
    )


def compare(loss, student, teacher, known):
    """The loss of two records without any targets of the student."""
    return loss(side(student), side(teacher), known, Progress())


def find(finder, sizes, strides, known):
    """The regions of a student without any targets."""
    return finder(sizes, strides, side(record(spec())), known)


def gradients(of):
    return [level.grad for name in of.spec.entries for level in of[name]]


@every_loss
def test_equal_records_cost_nothing(loss, settings):
    student, teacher = record(spec()), record(spec())
    value = compare(loss(spec(), spec(), **settings), student, teacher, truth(2, 1))
    value.backward()
    assert abs(value.item()) < 1e-6
    assert all(np.abs(grad.numpy()).max() < 1e-6 for grad in gradients(student) if grad is not None)


@every_loss
def test_without_any_box_all_is_zero_and_gradients_exist(loss, settings):
    student, teacher = record(spec()), record(spec(), seed=1)
    value = compare(loss(spec(), spec(), **settings), student, teacher, truth(0, 0))
    assert value.item() == 0
    value.backward()
    found = [grad for grad in gradients(student) if grad is not None]
    assert found
    assert all((grad == 0).all().item() for grad in found)
    assert all(grad is None for grad in gradients(teacher))


@no_background
def test_an_image_without_boxes_adds_nothing(loss, settings):
    built = loss(spec(), spec(), **settings)
    student, teacher = record(spec()), record(spec(), seed=1)
    first = paddle.to_tensor([0])
    alone = compare(built, student.images(first), teacher.images(first), truth(2)).item()
    assert alone > 0
    assert compare(built, student, teacher, truth(2, 0)).item() == pytest.approx(alone, rel=1e-5)


@over([one for one in LOSSES if one[0] is not LD and one[1]["region"] != "gibox"])
def test_means_are_taken_over_all_accumulated_batches(loss, settings):
    """Images with two boxes and one box, as a batch and as two batches of one update."""
    built = loss(spec(), spec(), **settings)
    student, teacher = record(spec()), record(spec(), seed=1)
    whole = compare(built, student, teacher, truth(2, 1)).item()
    parts = [
        (student.images(paddle.to_tensor([i])), teacher.images(paddle.to_tensor([i])), truth(count))
        for i, count in enumerate((2, 1))
    ]
    book = NormaliserBook()
    for part in parts:
        with book.counting():
            compare(built, *part)
    book.close()
    values = []
    for part in parts:
        with book.given():
            values.append(compare(built, *part).item())
    assert whole > 0
    assert sum(values) / 2 == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("region", ["main", "valuable"])
def test_gradients_stay_in_the_region_and_off_the_class_logits(region):
    student, teacher = record(spec()), record(spec(), seed=1)
    compare(LD(spec(), spec(), region=region), student, teacher, truth(2, 1)).backward()
    assert all(level.grad is None for level in student.cls_logits)
    regions = find(RegionFinder(), [level.shape[-2:] for level in student.neck], (8, 16, 32), truth(2, 1))
    cells = regions.main() if region == "main" else [value > 0 for value in regions.valuable()]
    for level, inside in zip(student.box_dist, cells, strict=True):
        moved = (level.grad.abs().sum(axis=[1, 2]).flatten(1) > 0).numpy()
        np.testing.assert_array_equal(moved, inside.numpy())


def test_quality_weighs_the_main_region_and_no_other():
    student, teacher = record(spec()), record(spec(), seed=1)
    half = [paddle.full([2, 1, 1, *level.shape[3:]], 0.5) for level in student.box_dist]
    rated = Record(spec(quality=True), {**student.tensors, "quality": half})
    for loss, settings, factor in (
        (LD, {"region": "main"}, 0.5),
        (LD, {"region": "valuable"}, 1.0),
        (ClassKD, {"region": "main"}, 1.0),
    ):
        built = loss(spec(), spec(), **settings)
        plain, seen = (compare(built, one, teacher, truth(2, 1)).item() for one in (student, rated))
        assert plain > 0
        assert seen == pytest.approx(factor * plain, rel=1e-5)


@no_gibox
def test_levels_pair_by_stride(loss, settings):
    of_student, of_teacher = spec((8, 16, 32)), spec((16, 32, 64))
    student, teacher = record(of_student), record(of_teacher, seed=1)
    value = compare(loss(of_student, of_teacher, **settings), student, teacher, truth(2, 1)).item()
    same = {name: [student[name][0].detach(), *teacher[name][:2]] for name in of_student.entries}
    built = loss(of_student, of_student, **settings)
    full = compare(built, student, Record(of_student, same), truth(2, 1)).item()
    assert value > 0
    assert value == pytest.approx(full, rel=1e-5)


def test_positives_can_be_left_out_of_the_valuable_region():
    sizes, strides = [(SIZE // stride,) * 2 for stride in (8, 16, 32)], (8, 16, 32)
    plain = find(RegionFinder(), sizes, strides, truth(2, 1))
    without = find(RegionFinder(exclude_main=True), sizes, strides, truth(2, 1))
    both = 0
    for main, value, rest in zip(plain.main(), plain.valuable(), without.valuable(), strict=True):
        both += (main & (value > 0)).sum().item()
        np.testing.assert_array_equal(rest.numpy(), np.where(main.numpy(), 0, value.numpy()))
    assert both > 0


def test_boxes_without_area_are_ignored():
    boxes = paddle.concat([paddle.to_tensor(BOXES), paddle.to_tensor([[30.0, 30.0, 30.0, 90.0]])])
    flat = Truth.of({"gt_bbox": [boxes], "gt_class": [paddle.zeros([3], dtype="int64")]})
    sizes = [(16, 16), (8, 8)]
    plain, more = (find(RegionFinder(), sizes, (8, 16), one) for one in (truth(2), flat))
    for name in ("main", "valuable", "fine_grained", "inside"):
        for one, other in zip(getattr(plain, name)(), getattr(more, name)(), strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_decouple_adds_twice_the_cells_outside_where_a_level_has_positives():
    student, teacher = record(spec()), record(spec(), seed=1)
    regions = find(RegionFinder(), [level.shape[-2:] for level in student.neck], (8, 16, 32), truth(2, 1))
    expected = []
    for one, other, cells, main in zip(student.neck, teacher.neck, regions.inside(), regions.main(), strict=True):
        error, cells = ((one - other) ** 2).mean(axis=1).flatten(1).numpy(), cells.numpy()
        expected.append(main.any().item() * (error[cells].mean() + 2 * error[~cells].mean()))
    assert [value > 0 for value in expected] == [True, True, False]
    found = compare(FeatureImitation(spec(), spec(), region="decouple"), student, teacher, truth(2, 1))
    assert found.item() == pytest.approx(sum(expected), rel=1e-5)


def test_unequal_channels_are_aligned_by_what_trains():
    student, teacher = spec(channels=4), spec(channels=6)
    loss = FeatureImitation(student, teacher)
    for boxes in ((2, 1), (0, 0)):
        compare(loss, record(student), record(teacher, seed=1), truth(*boxes)).backward()
        assert len(loss.parameters()) == 6
        assert all(parameter.grad is not None for parameter in loss.parameters())
        loss.clear_gradients()


def test_localisation_needs_no_common_classes():
    student, teacher = spec(classes=3), spec(classes=7)
    value = compare(LD(student, teacher), record(student), record(teacher, seed=1), truth(2, 1))
    assert value.item() > 0
    with pytest.raises(SpecError, match="ClassKD: cls_logits"):
        ClassKD(student, teacher)


def test_unequal_bins_are_refused():
    with pytest.raises(SpecError, match="LD: box_dist at stride 8 differs"):
        LD(spec(bins=9), spec(bins=17))


def plain_suppression(scores, boxes):
    kept = []
    for i in np.argsort(-scores):
        x1, y1 = np.maximum(boxes[i, :2], boxes[kept, :2]).T if kept else (np.zeros(0),) * 2
        x2, y2 = np.minimum(boxes[i, 2:], boxes[kept, 2:]).T if kept else (np.zeros(0),) * 2
        shared = (x2 - x1).clip(0) * (y2 - y1).clip(0)
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        if (shared / (areas[i] + areas[kept] - shared) <= 0.3).all():
            kept.append(i)
    return sorted(kept[:10])


@pytest.mark.parametrize("seed", range(3))
def test_general_instances_are_the_first_of_a_greedy_suppression(seed):
    bins, height, width = 5, 12, 14
    paddle.seed(seed)
    student, teacher = (
        (paddle.randn([2, 1, 3, height, width]), 4 * paddle.randn([2, 1, 4 * bins, height, width])) for _ in range(2)
    )
    probabilities = [1 / (1 + np.exp(-one[0].numpy()[:, 0])) for one in (teacher, student)]
    gap = (probabilities[0] - probabilities[1]).reshape(2, 3, -1).transpose(0, 2, 1).reshape(-1, 3)
    best = np.abs(gap).argmax(axis=1)
    signed = gap[np.arange(len(gap)), best]
    corners = []
    for _, dist in (teacher, student):
        logits = dist.numpy().reshape(2, 4, bins, -1)
        softmax = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
        sides = (softmax * np.arange(bins).reshape(1, 1, bins, 1)).sum(axis=2).transpose(0, 2, 1).reshape(-1, 4)
        y, x = (np.tile(axis.reshape(-1), 2) for axis in np.mgrid[:height, :width])
        corners.append(np.stack([x - sides[:, 0], y - sides[:, 1], x + sides[:, 2], y + sides[:, 3]], axis=1))
    boxes = np.where(signed[:, None] >= 0, corners[0], corners[1])
    found = np.flatnonzero(general_instances(student, teacher).numpy())
    assert len(found) == 10
    np.testing.assert_array_equal(found, plain_suppression(np.abs(signed), boxes))
