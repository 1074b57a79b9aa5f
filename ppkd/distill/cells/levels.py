"""Which pyramid level a box belongs to and which cells it covers there, as DeFeat and Global Knowledge have it.

The rules are those of the published code of DeFeat (arXiv 2103.14475) and of its successors, peculiarities included,
except that the sizes that belong to a level follow the strides and the input, see :func:`second_level_side`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import paddle
from paddle import Tensor

PUBLISHED_SIDE = 56.0
"""Boxes of this side in pixels begin the second level where levels begin at :data:`PUBLISHED_STRIDE`."""
PUBLISHED_STRIDE = 4
PUBLISHED_INPUT = math.sqrt(800 * 1333)
"""The root of the area of the published input, in pixels."""


def second_level_side(stride: int, height: int, width: int) -> float:
    """The side in pixels of the boxes that begin the second level, where the finest has ``height`` x ``width`` cells.

    It is 56 where the finest ``stride`` is 4 and the input about 800 x 1333 pixels, as published, and in proportion to
    both; of the input the whole octave counts, because levels are octaves, so that every input whose area has a root
    from 731 to 1460 pixels is as published. The published code has 56 whatever strides and input are, which puts all
    boxes of small images on the finest level.
    """
    octave = round(math.log2(math.sqrt(height * width) * stride / PUBLISHED_INPUT))
    return PUBLISHED_SIDE * stride / PUBLISHED_STRIDE * 2.0**octave


def box_levels(boxes: Tensor, count: int, *, second: float = PUBLISHED_SIDE, inclusive: bool = True) -> Tensor:
    """The level of corner ``boxes`` (..., 4) in pixels among ``count``, 0 the finest: int64 (...,).

    floor(log2(sqrt((w + 1) (h + 1)) / second + 1e-6)), clipped; ``second`` is the side of the boxes that begin the
    second level. Not ``inclusive`` leaves the two ones away, as extractors of RoI features do.
    """
    width, height = ((boxes[..., i + 2] - boxes[..., i] + float(inclusive)).clip(min=0) for i in (0, 1))
    level = (paddle.sqrt(width * height) / second + 1e-6).log2().floor()
    return level.clip(0, count - 1).astype("int64")


@dataclass(frozen=True)
class CellSpans:
    """Cells of boxes on one level: ``rows`` and ``columns`` float32 [N, M, 2], the first and the last one.

    ``single`` bool [N, M] are the boxes that round to no cell and get one, at their upper left corner.
    """

    rows: Tensor
    columns: Tensor
    single: Tensor

    def only(self, chosen: Tensor) -> CellSpans:
        """The same boxes, but those that are not ``chosen``, bool [N, M], cover nothing."""
        keep = chosen.unsqueeze(-1)
        nothing = paddle.to_tensor([0.0, -1.0])
        rows, columns = (paddle.where(keep, ends, nothing.expand_as(ends)) for ends in (self.rows, self.columns))
        return CellSpans(rows, columns, self.single)


def cell_spans(boxes: Tensor, stride: int, height: int, width: int) -> CellSpans:
    """The cells of corner ``boxes`` [N, M, 4] in pixels on a level of ``height`` x ``width`` cells.

    Corners in cells are truncated, the far ones are exclusive, and everything is clipped by the map.
    """
    cells = (boxes / stride).clip(min=0).floor()
    columns, rows = (_span(cells[..., i], cells[..., i + 2], most) for i, most in ((0, width), (1, height)))
    single = (columns[..., 1] < columns[..., 0]) | (rows[..., 1] < rows[..., 0])
    far = single.unsqueeze(-1)
    columns, rows = (paddle.where(far, ends[..., :1].expand_as(ends), ends) for ends in (columns, rows))
    return CellSpans(rows, columns, single)


def _span(start: Tensor, end: Tensor, cells: int) -> Tensor:
    """First and last cell [N, M, 2] from ``start`` to the exclusive ``end`` [N, M]; if none, the last comes first."""
    return paddle.stack([start.clip(max=cells - 1), end.clip(max=cells) - 1], axis=-1)
