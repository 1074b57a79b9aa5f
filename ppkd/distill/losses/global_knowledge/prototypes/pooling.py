"""Features of boxes: averages of a map's cells, without interpolation."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor


def pool_boxes(features: Sequence[Tensor], boxes: Tensor, scale: tuple[float, float]) -> list[Tensor]:
    """The means of ``features``, maps [N, C, H, W] of one size, over corner boxes [N, M, 4]: [N, M, C] each.

    As in the published code of Global Knowledge (arXiv 2210.09022), corners in cells are truncated, the far ones
    included; there is no RoIAlign. A box beyond the border, for which the published code gives NaN, has the nearest
    cells. The boxes are one matrix, so that each map is one product, forward and backward.

    Args:
        features: the same level of some necks.
        boxes: in pixels of the network's input.
        scale: cells per pixel, in x and in y.
    """
    height, width = features[0].shape[-2:]
    across, down = (_inside(boxes[..., i::2] * scale[i], cells) for i, cells in ((0, width), (1, height)))
    shares = (down.unsqueeze(3) * across.unsqueeze(2)).flatten(2)
    return [paddle.matmul(shares, feature.flatten(2), transpose_y=True) for feature in features]


def _inside(ends: Tensor, cells: int) -> Tensor:
    """The share of each cell of one axis in boxes with ``ends`` [N, M, 2] in cells: [N, M, cells], rows of sum 1."""
    first, last = ends.floor().clip(0, cells - 1).split(2, axis=-1)
    position = paddle.arange(cells, dtype="float32")
    inside = ((position >= first) & (position <= paddle.maximum(first, last))).astype("float32")
    return inside / inside.sum(axis=-1, keepdim=True)
