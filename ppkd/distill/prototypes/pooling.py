"""Features of boxes: averages of a map's cells, without interpolation."""

from __future__ import annotations

import paddle
from paddle import Tensor


def pool_boxes(feature: Tensor, boxes: Tensor, scale: tuple[float, float]) -> Tensor:
    """The mean of ``feature`` [N, C, H, W] over the cells of each corner box [N, M, 4], [N, M, C].

    As in the published code of Global Knowledge (arXiv 2210.09022), corners in cells are truncated, the far ones
    included; there is no RoIAlign. A box beyond the border, for which the published code gives NaN, has the nearest
    cells. The masks of the boxes are one matrix, so that this is one product, forward and backward.

    Args:
        feature: a level of the neck.
        boxes: in pixels of the network's input.
        scale: cells per pixel, in x and in y.
    """
    images, _, height, width = feature.shape
    across, down = (_inside(boxes[..., i::2] * scale[i], cells) for i, cells in ((0, width), (1, height)))
    mask = (down.unsqueeze(3) * across.unsqueeze(2)).reshape([images, boxes.shape[1], height * width])
    return paddle.matmul(mask, feature.flatten(2), transpose_y=True)


def _inside(ends: Tensor, cells: int) -> Tensor:
    """The share of each cell of one axis in boxes with ``ends`` [N, M, 2] in cells: [N, M, cells], rows of sum 1."""
    first, last = ends.floor().clip(0, cells - 1).split(2, axis=-1)
    position = paddle.arange(cells, dtype="float32")
    inside = ((position >= first) & (position <= paddle.maximum(first, last))).astype("float32")
    return inside / inside.sum(axis=-1, keepdim=True)
