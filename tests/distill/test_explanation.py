"""What losses show of themselves, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppkd.distill.explanation import difference
from ppkd.distill.losses.fgd import FGDFeatureLoss
from ppkd.structures.truth import Truth


def maps(*shape):
    return paddle.to_tensor(np.random.default_rng(0).standard_normal(shape).astype("float32"))


def test_equal_maps_do_not_differ_and_nothing_differs_by_one():
    teacher = maps(2, 4, 3, 3)
    assert difference(teacher, teacher).abs().max().item() == 0
    assert difference(paddle.zeros_like(teacher), teacher).mean().item() == pytest.approx(1.0, abs=1e-5)


def test_maps_of_other_channels_differ_by_where_they_are_large():
    teacher = maps(1, 4, 2, 2)
    assert difference(paddle.concat([teacher, teacher], axis=1) * 3.0, teacher).max().item() == pytest.approx(
        0, abs=1e-5
    )
    assert difference(maps(1, 4, 2, 2), maps(1, 4, 4, 4)) is None


def test_fgd_shows_attentions_of_mean_one_and_channels_by_the_teachers():
    formula = FGDFeatureLoss(4, 4)
    truth = Truth.of(
        {
            "image": paddle.zeros([2, 3, 32, 32]),
            "im_shape": paddle.full([2, 2], 32.0),
            "gt_bbox": [paddle.to_tensor([[0.0, 0.0, 16.0, 16.0]]), paddle.zeros([0, 4])],
        }
    )
    shown = formula.explain(8, maps(2, 4, 4, 4), 2.0 * maps(2, 4, 4, 4), truth)
    by_title = {one.title: one.values.numpy() for one in shown.maps}
    for owner in ("teacher", "student"):
        assert by_title[f"{owner}'s attention"].mean(axis=(1, 2)) == pytest.approx([1, 1], abs=1e-5)
    cells = by_title["weight of cells by boxes"]
    assert len(np.unique(cells[0])) == 2
    assert len(np.unique(cells[1])) == 1
    for one in shown.lines:
        teacher = one.lines["teacher"].numpy()
        assert (np.diff(teacher) <= 0).all()
        assert teacher.mean() == pytest.approx(1, abs=1e-5)
