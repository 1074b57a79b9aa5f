"""The point part of Global Knowledge (arXiv 2210.09022): imitation of maps in boxes with weights, and around them."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor

from ppkd.distill.cells.levels import CellSpans, cell_spans
from ppkd.distill.cells.masks import topmost
from ppkd.distill.maps import squared_error
from ppkd.distill.means import half_mean
from ppkd.structures.truth import Truth

NEVER = -2.0
"""Below every weight."""


def imitate(
    maps: Sequence[tuple[Tensor, Tensor]],
    strides: Sequence[int],
    boxes: Truth,
    level: Tensor,
    weights: Sequence[Tensor],
    of_levels: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`imitation` in boxes and around them, summed over levels; a box is painted on one.

    Args:
        maps: the student's adapted map and the teacher's, [N, C, H, W], level by level.
        strides: of the levels, in pixels.
        boxes: the boxes.
        level: on which of the levels each is painted, int64 [N, M].
        weights: of the boxes on each level, float32 [N, M].
        of_levels: weights of the levels, float32 [levels]; by default all count the same.
    """
    terms = []
    for i, ((student, teacher), stride) in enumerate(zip(maps, strides, strict=True)):
        size = student.shape[-2:]
        spans = cell_spans(boxes.boxes, stride, *size)
        terms.append(imitation(student, teacher, paint(weights[i], spans, boxes.real & (level == i), *size)))
    inside, outside = zip(*terms, strict=True)
    if of_levels is None:
        return paddle.add_n(list(inside)), paddle.add_n(list(outside))
    return (paddle.stack(inside) * of_levels).sum(), (paddle.stack(outside) * of_levels).sum()


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


def imitation(student: Tensor, teacher: Tensor, painted: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted squared differences inside and outside of the painted cells, scalars.

    Each is half the mean over cells and channels. As published, a sum of weights below 1 / 2 counts as 1 / 2, and
    where the weight is negative, a cell counts outside with one minus it.

    Args:
        student: its adapted map [N, C, H, W].
        teacher: its map, likewise.
        painted: weights of the cells [N, H, W].
    """
    error = squared_error(student, teacher)
    outside = 1.0 - paddle.where(painted > 0, paddle.ones_like(painted), painted)
    inner, outer = (half_mean(error, weight, student.shape[1]) for weight in (painted, outside))
    return inner, outer
