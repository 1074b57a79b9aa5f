"""CLoCKDistill's loss on maps against its formula written with loops."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from query_records import spec

from ppkd.config import load_config
from ppkd.distill.build import build_losses
from ppkd.distill.losses import CLoCKFeatureLoss

BOXES = [[[8.0, 8.0, 23.0, 39.0], [0.0, 0.0, 63.0, 63.0]], [[30.0, 20.0, 44.0, 50.0]], []]


def batch():
    boxes = [paddle.to_tensor(rows, "float32").reshape([-1, 4]) for rows in BOXES]
    return {"gt_bbox": boxes, "im_shape": paddle.full([3, 2], 64.0)}


def weights(alpha, beta, cells=8):
    """The weight of every cell [N, cells, cells]: a box covers the cells from floor to ceiling of its ends."""
    found = np.zeros((3, cells, cells))
    for image, rows in enumerate(BOXES):
        inside = np.zeros((cells, cells))
        for box in rows:
            x0, y0, x1, y1 = (int(edge) for edge in (*np.floor(np.array(box[:2]) / 8), *np.ceil(np.array(box[2:]) / 8)))
            area = (x1 + 1 - x0) * (y1 + 1 - y0)
            inside[y0 : y1 + 1, x0 : x1 + 1] = np.maximum(inside[y0 : y1 + 1, x0 : x1 + 1], 1 / area)
        outside = (inside == 0).sum()
        found[image] = np.where(inside > 0, alpha * inside, beta / max(outside, 1))
    return found


def test_objects_and_background_weigh_apart():
    rng = np.random.default_rng(0)
    student, teacher = (rng.normal(size=(3, 5, 8, 8)) for _ in range(2))
    loss = CLoCKFeatureLoss(5, 5, alpha_clock=0.3, beta_clock=0.01)
    maps = [paddle.to_tensor(one.astype("float32"), stop_gradient=False) for one in (student, teacher)]
    value = loss(*maps, batch())
    expected = (((student - teacher) ** 2).sum(axis=1) * weights(0.3, 0.01)).sum() / 3
    assert value.item() == pytest.approx(expected, rel=1e-5)
    value.backward()
    assert maps[0].grad.abs().min() > 0 and maps[1].grad is None
    assert loss(maps[1], maps[1], batch()).item() == 0


def test_the_slim_file_compares_memories_with_the_papers_weights(root):
    slim = load_config(root / "slim/distill/clockdistill.yml")
    loss = build_losses(slim, spec(channels=4), spec())["memory"]
    assert loss.consumes == ("memory",)
    for formula in loss.formulas:
        assert (formula.alpha_clock, formula.beta_clock, formula.align.weight.shape[1]) == (5e-5, 1e-7, 4)
