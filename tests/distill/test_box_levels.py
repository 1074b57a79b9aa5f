"""Levels and cells of boxes against the rule written as a loop, on boxes at borders and smaller than a cell."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest
from sides import side

from ppkd.distill.cells.levels import box_levels, cell_spans, second_level_side
from ppkd.distill.cells.masks import topmost
from ppkd.distill.losses import GlobalKnowledge
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth

HEIGHT, WIDTH = 160, 224


def boxes(count=70, seed=0):
    rng = np.random.default_rng(seed)
    low = rng.uniform(-5, [WIDTH - 2, HEIGHT - 2], (2, count, 2))
    high = np.minimum(low + rng.uniform(0.5, 120, (2, count, 2)), [WIDTH, HEIGHT])
    high[:, ::5] = low[:, ::5] + 1.5
    return np.concatenate([low, high], axis=2).astype("float32")


@pytest.mark.parametrize("extra", [0, 1])
def test_levels(extra):
    given = np.concatenate([boxes() * scale for scale in (1, 3, 9, 30)], axis=1)
    found = box_levels(paddle.to_tensor(given), 4, inclusive=bool(extra)).numpy()
    sizes = np.maximum(given[..., 2:] - given[..., :2] + extra, 0)
    expected = [
        min(3, max(0, math.floor(math.log2(math.sqrt(w * h) / 56 + 1e-6)))) for w, h in sizes.reshape(-1, 2).tolist()
    ]
    assert found.ravel().tolist() == expected
    assert set(expected) == {0, 1, 2, 3}


@pytest.mark.parametrize("size", [(800, 1344), (1344, 800), (800, 800), (800, 1088), (640, 1344), (1344, 1344)])
def test_the_second_level_begins_at_the_published_side_at_published_sizes(size):
    assert second_level_side(4, size[0] // 4, size[1] // 4) == 56.0


@pytest.mark.parametrize(
    ("stride", "size", "expected"),
    [
        (8, (800, 1344), 112.0),
        (4, (160, 160), 7.0),
        (8, (160, 160), 14.0),
        (8, (640, 640), 56.0),
        (4, (1600, 2688), 112.0),
    ],
)
def test_elsewhere_it_follows_the_stride_and_the_input(stride, size, expected):
    assert second_level_side(stride, size[0] // stride, size[1] // stride) == expected


def test_global_knowledge_follows_too():
    """Sides of 8, 30 and 110 pixels in an image of 128."""
    levels = tuple(LevelSpec(4, stride) for stride in (8, 16, 32))
    spec = DetectorSpec("Some", 3, {"neck": Entry("feature", "grid", levels)}, frozenset({"features", "assign"}))
    maps = [paddle.zeros([1, 4, 128 // level.stride, 128 // level.stride]) for level in levels]
    given = Truth.around(paddle.to_tensor([[[8.0, 8.0, 8.0 + side, 8.0 + side] for side in (8.0, 30.0, 110.0)]]))
    for settings, expected in (({}, [0, 1, 2]), ({"second_level_side": 56.0}, [0, 0, 0])):
        loss = GlobalKnowledge(spec, spec, soft_label=0.0, **settings)
        assert loss.level_of(side(Record(spec, {"neck": maps})), given).tolist() == [expected]


@pytest.mark.parametrize("stride", [4, 16, 64])
def test_the_last_box_over_a_cell_is_on_top(stride):
    given = boxes()
    height, width = -(-HEIGHT // stride), -(-WIDTH // stride)
    spans = cell_spans(paddle.to_tensor(given), stride, height, width)
    expected = np.zeros((2, height, width), np.int64)
    for image in range(2):
        for i, (x1, y1, x2, y2) in enumerate(given[image] / np.float32(stride)):
            left, right = max(int(x1), 0), min(int(x2), width)
            top, bottom = max(int(y1), 0), min(int(y2), height)
            degenerate = left >= right or top >= bottom
            assert spans.single[image, i].item() == degenerate
            if degenerate:
                expected[image, top, left] = i + 1
            else:
                expected[image, top:bottom, left:right] = i + 1
    found = topmost(spans.rows, spans.columns, height, width)
    assert (found.numpy() == expected).all()
    chosen = paddle.arange(given.shape[1]).expand([2, -1]) < 10
    few = spans.only(chosen)
    assert topmost(few.rows, few.columns, height, width).max().item() <= 10
