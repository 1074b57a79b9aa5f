"""Selection of the best rows, in eager mode and in exported programs of any input size."""

from __future__ import annotations

import paddle
from paddle import Tensor


def best_rows(scores: Tensor, limit: int) -> Tensor:
    """Indices int64 [N, k] of the largest of ``scores`` [N, P], best first; k is ``limit``, or P if that is less."""
    count = scores.shape[1]
    if isinstance(count, int) and count >= 0:
        return paddle.topk(scores, min(count, limit), axis=1)[1]
    known_at_run_time = paddle.shape(scores)[1]
    return paddle.topk(scores, paddle.minimum(known_at_run_time, paddle.full([], limit, "int64")), axis=1)[1]


def take_rows(rows: Tensor, index: Tensor) -> Tensor:
    """The rows of [N, P, K] at ``index`` int64 [N, k]: [N, k, K]."""
    return paddle.take_along_axis(rows, index.unsqueeze(-1).expand([-1, -1, rows.shape[-1]]), axis=1, broadcast=False)
