"""Distances between rows in units of their mean, by exact and by expanded differences."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from loss_cases import leaf

from ppkd.distill.distances import relative_distances


@pytest.mark.parametrize("exact", [True, False])
def test_distances_are_those_of_real_rows_over_their_mean(exact):
    rows = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")
    real = np.array([True, False, True, True, False])
    found = relative_distances(paddle.to_tensor(rows), paddle.to_tensor(real), exact=exact).numpy()
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=-1) * np.outer(real, real)
    np.testing.assert_allclose(found, apart / apart[apart > 0].mean(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("count", [0, 1, 4])
def test_gradients_are_finite_for_few_and_for_equal_rows(exact, count):
    rows = leaf(np.ones([4, 3], "float32"))
    relative_distances(rows, paddle.arange(4) < count, exact=exact).sum().backward()
    assert (rows.grad == 0).all().item()


def test_exact_differences_of_equal_rows_are_next_to_nothing_far_from_the_origin():
    rows = np.random.default_rng(1).normal(size=(3, 64)).astype("float32")
    rows[1] = rows[0]
    found = relative_distances(paddle.to_tensor(rows + 3.0), paddle.to_tensor([True] * 3), exact=True)
    assert 0 < found[0, 1].item() < 1e-6
