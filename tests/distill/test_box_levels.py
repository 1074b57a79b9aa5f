"""Levels and cells of boxes against the rule written as a loop, on boxes at borders and smaller than a cell."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest

from ppkd.distill.cells.levels import box_levels, cell_spans
from ppkd.distill.cells.masks import topmost

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
