"""Weights of a map's cells inside and outside of boxes, at a cost that hardly depends on how many boxes there are."""

from __future__ import annotations

import paddle
from paddle import Tensor

WORD = 60


def box_masks(boxes: Tensor, im_shape: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Weights of the cells inside and outside of the boxes, float32 [N, H, W] each.

    Inside, a cell counts 1 / area of the smallest box that covers it, in cells and before clipping at the right and
    lower border; outside, 1 / number of such cells. A box covers every cell from the floor of its start to the ceiling
    of its end, both included. Boxes whose corners are all zero are padding.

    Args:
        boxes: corners float32 [N, M, 4] in pixels.
        im_shape: float32 (N, 2), height and width of the image within the padded input.
        height: cells of the map.
        width: cells of the map.
    """
    corners = boxes.astype("float32")
    size = im_shape.astype("float32").unsqueeze(1)
    columns = _extent(corners[:, :, 0::2], size[:, :, 1:], width)
    rows = _extent(corners[:, :, 1::2], size[:, :, :1], height)
    value = (corners.abs().sum(axis=2) > 0).astype("float32") / (_length(columns) * _length(rows))
    foreground = _largest(value, rows, columns, height, width)
    outside = (foreground == 0).astype("float32")
    return foreground, outside / outside.sum(axis=[1, 2], keepdim=True).clip(min=1)


def _extent(ends: Tensor, size: Tensor, cells: int) -> Tensor:
    """First and last cell [N, K, 2] along one axis for ends [N, K, 2] in pixels."""
    scaled = ends / size * cells
    return paddle.stack([scaled[:, :, 0].floor().clip(min=0), scaled[:, :, 1].ceil()], axis=2)


def _length(extent: Tensor) -> Tensor:
    return extent[:, :, 1] + 1 - extent[:, :, 0]


def topmost(rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    """Which box lies on top of each cell, the last one that covers it: its index + 1, 0 for none; int64 [N, H, W].

    ``rows`` and ``columns`` [N, K, 2] are the first and the last cell of each box; one whose last cell comes before its
    first covers nothing. Every row and column of cells gets the set of boxes that cross it, as the bits of integers. A
    cell's boxes are the intersection of two sets; the highest bit of it is the box looked for.
    """
    down, across = _crossing(rows, height), _crossing(columns, width)
    both = paddle.bitwise_and(down.unsqueeze(3), across.unsqueeze(2))
    highest = paddle.searchsorted(_bits(), both, right=True)
    first = paddle.arange(both.shape[1], dtype="int64").reshape([1, -1, 1, 1]) * WORD
    return paddle.where(highest > 0, highest + first, highest).max(axis=1)


def _largest(value: Tensor, rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    """The largest ``value`` [N, K] of the boxes over each cell [N, H, W], 0 where there is none."""
    order = value.argsort(axis=1)
    value = paddle.take_along_axis(value, order, axis=1)
    rows, columns = (paddle.take_along_axis(ends, order.unsqueeze(2), axis=1) for ends in (rows, columns))
    rank = topmost(rows, columns, height, width)
    known = paddle.concat([paddle.zeros([value.shape[0], 1]), value], axis=1)
    return paddle.take_along_axis(known, rank.flatten(1), axis=1).reshape(rank.shape)


def _crossing(ends: Tensor, cells: int) -> Tensor:
    """The boxes over each position of one axis, as bits: int64 [N, K / 60 rounded up, cells]."""
    images, count = ends.shape[:2]
    position = paddle.arange(cells, dtype="float32")
    inside = ((position >= ends[:, :, :1]) & (position <= ends[:, :, 1:])).astype("int64")
    if missing := -count % WORD:
        inside = paddle.concat([inside, paddle.zeros([images, missing, cells], dtype="int64")], axis=1)
    return (inside.reshape([images, -1, WORD, cells]) * _bits().unsqueeze(1)).sum(axis=2)


def _bits() -> Tensor:
    return paddle.bitwise_left_shift(paddle.ones([WORD], dtype="int64"), paddle.arange(WORD, dtype="int64"))
