"""Cells of one level that belong to boxes, inside of them or by their anchors."""

from __future__ import annotations

import paddle
from paddle import Tensor

from ppkd.distill.cells.levels import cell_spans
from ppkd.structures.boxes import xyxy_to_cxcywh


def cells_inside(boxes: Tensor, chosen: Tensor, stride: int, height: int, width: int) -> Tensor:
    """1 in the cells that some chosen box covers (:func:`cell_spans`), 0 elsewhere: float32 [N, height, width].

    This is DeFeat's rule. :meth:`Regions.inside` of localisation distillation asks for a cell's centre strictly inside
    of the box, and FGD's :func:`box_masks` rounds outwards on a map scaled to the unpadded image: three published
    rules that choose different cells along a box's borders.

    Args:
        boxes: corners float32 [N, M, 4] in pixels.
        chosen: bool [N, M].
        stride: of the level, in pixels.
        height: cells of the map.
        width: cells of the map.
    """
    spans = cell_spans(boxes, stride, height, width).only(chosen)
    rows, columns = _between(spans.rows, height), _between(spans.columns, width)
    return (paddle.matmul(rows, columns, transpose_x=True) > 0).astype("float32")


def _between(ends: Tensor, count: int) -> Tensor:
    position = paddle.arange(count, dtype="float32")
    return ((position >= ends[..., :1]) & (position <= ends[..., 1:])).astype("float32")


def cells_of_anchors(
    boxes: Tensor,
    chosen: Tensor,
    anchors: Tensor,
    stride: int,
    height: int,
    width: int,
    *,
    threshold: float = 0.5,
    pixel: float = 0.0,
) -> Tensor:
    """1 in the cells with an anchor that overlaps a chosen box more than ``threshold`` times as much as the level's
    best anchor does (Wang et al., arXiv 1906.03609), 0 elsewhere: float32 [N, height, width].

    Overlaps of all cells are outer products of overlaps along the two axes, and so is the best one's. The best anchor
    is that of the level, as published; :meth:`Regions.fine_grained` compares with the best of all levels.

    Args:
        boxes: corners float32 [N, M, 4] in pixels.
        chosen: bool [N, M].
        anchors: corners float32 [A, 4] of the first cell's anchors, in pixels.
        stride: of the level, in pixels.
        height: cells of the map.
        width: cells of the map.
        threshold: share of the best overlap.
        pixel: added to every width and height; 1 where corners are pixels inside of boxes.
    """
    across = _shared(boxes[..., 0::2], anchors[:, 0::2], stride, width, pixel)
    down = _shared(boxes[..., 1::2], anchors[:, 1::2], stride, height, pixel)
    both = _area(boxes, pixel).unsqueeze(-1) + _area(anchors, pixel)
    most = across.max(axis=-1) * down.max(axis=-1)
    least = threshold * (most / (both - most)).max(axis=-1, keepdim=True)
    shared = down.unsqueeze(-1) * across.unsqueeze(-2)
    found = shared > (both * least / (1.0 + least)).unsqueeze([-1, -2])
    found = found & chosen.unsqueeze([-1, -2, -3])
    return found.flatten(1, 2).any(axis=1).astype("float32")


def _shared(boxes: Tensor, anchors: Tensor, stride: int, cells: int, pixel: float) -> Tensor:
    """Length [N, M, A, cells] that ends [N, M, 2] share with ends [A, 2] moved from cell to cell."""
    ends = anchors.unsqueeze(1) + stride * paddle.arange(cells, dtype="float32").unsqueeze(-1)
    low = paddle.maximum(boxes[..., :1].unsqueeze(-1), ends[..., 0])
    high = paddle.minimum(boxes[..., 1:].unsqueeze(-1), ends[..., 1])
    return (high - low + pixel).clip(min=0)


def _area(boxes: Tensor, pixel: float) -> Tensor:
    return (xyxy_to_cxcywh(boxes)[..., 2:] + pixel).prod(axis=-1)
