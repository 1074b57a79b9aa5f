"""Masks within boxes from the edges of outlines, on the device, for all boxes at once.

What pycocotools fills of a polygon that is moved and stretched into a box, to the pixel: corners snap to a grid of a
fifth of a pixel, edges become that grid's cells as Bresenham draws them, and a pixel is filled that has an odd number
of them above the middle of its column.
"""

from __future__ import annotations

import paddle
from paddle import Tensor

FINE = 5
"""Cells of the fine grid to a pixel."""
MIDDLE = 2
"""The last cell of a pixel on the near side of its middle."""
LEAST_SIDE = 0.1
"""Of a box in pixels, so that nothing is divided by zero."""


@paddle.no_grad()
def rasterise(edges: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Masks float32 [R, side, side] of ones and zeros within the corner ``boxes`` float32 [R, 4] of objects.

    ``edges`` float32 [R, L, S, 4] are those of each box's object, x1, y1, x2, y2, in L layers; ones without length are
    padding. What an odd number of edges of a layer lies above of is inside of it, and the object is the union of its
    layers.
    """
    starts, ends = _on_fine_grid(edges.flatten(1, 2), boxes, side)
    columns = paddle.arange(side, dtype="float64") * FINE + MIDDLE
    rows, crosses = _crossings(starts.unsqueeze(-1), ends.unsqueeze(-1), columns)
    first = ((rows - MIDDLE) / FINE).ceil().clip(min=0, max=side).astype("int64")
    layers = [edges.shape[0] * edges.shape[1], edges.shape[2] * side]
    filled = _filled(first.reshape(layers), crosses.astype("float32").reshape(layers), side)
    return filled.reshape([*edges.shape[:2], side, side]).max(axis=1).transpose([0, 2, 1])


def _on_fine_grid(corners: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Both ends of the edges [R, S, 4] in cells of the fine grid within their box, float64 [2, R, S] each: x, y."""
    boxes = boxes.astype("float64").unsqueeze(1)
    size = (boxes[..., 2:] - boxes[..., :2]).clip(min=LEAST_SIDE)
    points = (corners.astype("float64").unflatten(-1, [2, 2]) - boxes[..., :2].unsqueeze(2)) * (side / size).unsqueeze(
        2
    )
    cells = (points * FINE + 0.5).trunc().transpose([2, 3, 0, 1])
    return cells[0], cells[1]


def _crossings(starts: Tensor, ends: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """In which row each edge passes from a column of cells to the next, and whether it does, both [R, S, columns].

    ``starts`` and ``ends`` are [2, R, S, 1], ``columns`` float64 [columns]. The row is the upper one of the two cells.
    """
    flat = (ends - starts).abs()
    shallow = flat[0] >= flat[1]
    turned = paddle.where(shallow, starts[0] > ends[0], starts[1] > ends[1])
    (x1, y1), (x2, y2) = paddle.where(turned, ends, starts), paddle.where(turned, starts, ends)
    along, across = (x2 - x1), (y2 - y1)
    left = paddle.minimum(x1, x2)
    crosses = (left <= columns) & (columns + 1 <= left + along.abs())
    slope = across / along.clip(min=1)
    before, after = ((y1 + (column - x1) * slope + 0.5).floor() for column in (columns, columns + 1))
    steep = y1 + _steps(columns, x1, along / across.clip(min=1))
    return paddle.where(shallow, paddle.minimum(before, after), steep), crosses


def _steps(columns: Tensor, start: Tensor, lean: Tensor) -> Tensor:
    """How many rows below its upper end a steep edge leaves its last cell in one of both columns, to the other.

    Going down, ``lean`` cells to the right in each row, it is in a cell beyond ``columns`` where ``start`` and what it
    has moved are half a cell beyond at least.
    """
    upright = lean == 0
    rows = (columns + 0.5 - start) / paddle.where(upright, paddle.ones_like(lean), lean)
    return paddle.where(lean > 0, rows.ceil() - 1, rows.floor())


def _filled(first: Tensor, crosses: Tensor, side: int) -> Tensor:
    """Masks [K, side, side], column by column, from the ``first`` rows below edges, int64 [K, S * side].

    ``crosses`` float32 of the same shape is 1 where there is an edge, else 0.
    """
    column = (paddle.arange(side) * (side + 1)).tile([first.shape[1] // side])
    counts = paddle.zeros([first.shape[0], side * (side + 1)])
    counts = counts.put_along_axis(first + column, crosses, axis=1, reduce="add")
    return counts.reshape([-1, side, side + 1])[..., :side].cumsum(axis=-1) % 2
