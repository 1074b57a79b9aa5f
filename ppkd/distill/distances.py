"""Distances between the rows of a matrix, in units of their mean."""

from __future__ import annotations

import paddle
from paddle import Tensor

LEAST = 1e-12
"""Squares of distances are not below this, so that their roots have gradients."""


def relative_distances(rows: Tensor, real: Tensor, *, exact: bool) -> Tensor:
    """Distances [M, M] between any two different ``real`` rows, divided by their mean; 0 for all other pairs.

    Equal rows are 1e-6 apart before the division, with gradient 0.

    Args:
        rows: float32 [M, D].
        real: which of them count, bool [M].
        exact: square the differences, M^2 D numbers. Otherwise the square of a difference is expanded, for rows too
            long for that; then rounding hides distances below about a thousandth of the rows' spread.
    """
    weight = real.astype("float32")
    pairs = paddle.outer(weight, weight) * (1.0 - paddle.eye(weight.shape[0]))
    squares = _differences_squared(rows) if exact else _expanded(rows, weight)
    distances = squares.clip(min=LEAST).sqrt() * pairs
    mean = distances.sum() / pairs.sum().clip(min=1)
    return distances / mean.clip(min=LEAST)


def _differences_squared(rows: Tensor) -> Tensor:
    differences = rows.unsqueeze(0) - rows.unsqueeze(1)
    return (differences * differences).sum(axis=-1)


def _expanded(rows: Tensor, weight: Tensor) -> Tensor:
    """|a|^2 + |b|^2 - 2 a.b of all pairs, rows of ``weight`` 0 being 0; the centre is moved to 0 to keep digits."""
    centre = (rows * weight.unsqueeze(1)).sum(axis=0, keepdim=True) / weight.sum().clip(min=1)
    rows = (rows - centre.detach()) * weight.unsqueeze(1)
    square = (rows * rows).sum(axis=1)
    return square.unsqueeze(0) + square.unsqueeze(1) - 2.0 * paddle.matmul(rows, rows, transpose_y=True)
