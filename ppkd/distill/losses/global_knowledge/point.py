"""Imitation of a map in boxes that are painted with weights, and around them (Global Knowledge, arXiv 2210.09022)."""

from __future__ import annotations

import paddle
from paddle import Tensor

from ppkd.distill.cells.levels import CellSpans
from ppkd.distill.cells.masks import topmost
from ppkd.models.losses.normaliser import over_batch

NEVER = -2.0
"""Below every weight."""


@paddle.no_grad()
def paint(weights: Tensor, spans: CellSpans, chosen: Tensor, height: int, width: int) -> Tensor:
    """Weights of the cells, float32 [N, height, width]: that of the last box over a cell, 0 where there is none.

    A box that rounds to no cell raises the weight of its one cell, if its own is larger.

    Args:
        weights: of the boxes, float32 [N, M] in [-1, 1].
        spans: their cells.
        chosen: the boxes to paint, bool [N, M].
    """
    solid = spans.only(chosen & ~spans.single)
    top = topmost(solid.rows, solid.columns, height, width).flatten(1)
    nothing = paddle.zeros([weights.shape[0], 1])
    painted = paddle.take_along_axis(paddle.concat([nothing, weights], axis=1), top, axis=1)
    cell = (spans.rows[..., 0] * width + spans.columns[..., 0]).astype("int64")
    above = paddle.arange(1, weights.shape[1] + 1) > paddle.take_along_axis(top, cell, axis=1)
    single = paddle.where(chosen & spans.single & above, weights, paddle.full_like(weights, NEVER))
    return painted.put_along_axis(cell, single, 1, reduce="amax").reshape([-1, height, width])


def imitation(ours: Tensor, theirs: Tensor, painted: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted squared differences inside and outside of the painted cells, scalars.

    Each is half the mean over cells and channels. As published, a sum of weights below 1 / 2 counts as 1 / 2, and
    where the weight is negative, a cell counts outside with one minus it.

    Args:
        ours: the student's adapted map [N, C, H, W].
        theirs: the teacher's.
        painted: weights of the cells [N, H, W].
    """
    gap = ours - theirs.detach()
    error = (gap * gap).sum(axis=1)
    outside = 1.0 - paddle.where(painted > 0, paddle.ones_like(painted), painted)
    inner, outer = (
        (error * weight).sum() / over_batch(2.0 * ours.shape[1] * weight.sum()).clip(min=1)
        for weight in (painted, outside)
    )
    return inner, outer
