"""Masks within boxes are what pycocotools fills, for polygons of all kinds."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from pycocotools import mask as coco

from ppkd.data.outlines import Outlines, read_polygons
from ppkd.models.assigners.rasterise import rasterise

SIDE, OBJECTS = 28, 300


def filled(polygons: list[list[float]], box: np.ndarray) -> np.ndarray:
    size = np.maximum(box[2:] - box[:2], 0.1)
    moved = [((np.reshape(one, [-1, 2]) - box[:2]) * (SIDE / size)).ravel() for one in polygons]
    return coco.decode(coco.merge(coco.frPyObjects(moved, SIDE, SIDE)))


@pytest.mark.parametrize("whole_pixels", [False, True])
def test_masks_are_pycocotools(whole_pixels):
    rng = np.random.default_rng(0)
    polygons = [
        [rng.uniform(0, 100, 2 * rng.integers(3, 12)).astype("float32").tolist() for _ in range(rng.integers(1, 4))]
        for _ in range(OBJECTS)
    ]
    if whole_pixels:
        polygons = [[np.round(one).tolist() for one in parts] for parts in polygons]
    corner, size = rng.uniform(-10, 60, (OBJECTS, 2)), rng.uniform(0, 60, (OBJECTS, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype("float32")
    edges = Outlines.of([read_polygons(parts)[0] for parts in polygons]).padded()
    found = rasterise(paddle.to_tensor(edges), paddle.to_tensor(boxes), SIDE).numpy()
    expected = np.stack([filled(*pair) for pair in zip(polygons, boxes.astype("float64"), strict=True)])
    assert 0.1 < expected.mean() < 0.9
    # An edge that passes exactly through the middle of a cell may be rounded to the other side.
    assert (found != expected).sum() <= 2


def test_padding_fills_nothing():
    assert not rasterise(paddle.zeros([3, 2, 5, 4]), paddle.to_tensor([[0.0, 0, 9, 9]] * 3), SIDE).any()
