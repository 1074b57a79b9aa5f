"""The boxes that an encoder's cells start from, as logits."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor
from paddle.nn import functional as F

SIDE = 0.05
"""The share of the image that an anchor of the finest level takes on each side; those of the next are twice as long."""
EPS = 1e-5


def logit(shares: Tensor) -> Tensor:
    """What a sigmoid makes ``shares`` of, elementwise; they are kept ``EPS`` away from 0 and 1."""
    shares = shares.clip(0, 1)
    return paddle.log(shares.clip(min=EPS) / (1 - shares).clip(min=EPS))


def anchor_logits(maps: Sequence[Tensor], margin: float, swapped_sides: bool) -> tuple[Tensor, Tensor]:
    """The logits of cx, cy, w, h of every cell, float32 [1, P, 4], and which cells count, bool [1, P, 1].

    A cell counts if its four numbers are at least ``margin`` away from 0 and 1; the others' logits are infinite.
    ``swapped_sides`` divides columns by heights and rows by widths, as PaddleDetection does.
    """
    boxes = paddle.concat([_anchors(level, i, swapped_sides) for i, level in enumerate(maps)]).unsqueeze(0)
    inside = ((boxes > margin) & (boxes < 1 - margin)).all(axis=-1, keepdim=True)
    return paddle.where(inside, paddle.log(boxes / (1 - boxes)), paddle.full([], float("inf"))), inside


def rows_at(maps: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """What ``maps`` [N, channels, H, W] hold at the centres of ``boxes``, between cells interpolated: [N, Q, channels].

    Each box looks at the level whose anchors are nearest to its size.

    Args:
        maps: float32, finest first.
        boxes: float32 [N, Q, 4], cx, cy, w, h in shares of the image.
    """
    centres = (2 * boxes[..., :2] - 1).unsqueeze(2)
    found = [F.grid_sample(level, centres, padding_mode="border", align_corners=False).squeeze(3) for level in maps]
    doublings = paddle.log2(boxes[..., 2:].prod(axis=-1).sqrt().clip(min=EPS) / SIDE)
    chosen = F.one_hot(doublings.round().clip(0, len(maps) - 1).astype("int64"), len(maps))
    return (paddle.stack(found, axis=-1).transpose([0, 2, 1, 3]) * chosen.unsqueeze(2)).sum(axis=-1)


def _anchors(level: Tensor, index: int, swapped_sides: bool) -> Tensor:
    """cx, cy, w, h of the cells of a map [N, C, H, W] in shares of the image, float32 [H * W, 4], row by row."""
    height, width = level.shape[-2:]
    over_y, over_x = (width, height) if swapped_sides else (height, width)
    rows = (paddle.arange(height, dtype="float32") + 0.5) / over_y
    columns = (paddle.arange(width, dtype="float32") + 0.5) / over_x
    y, x = paddle.meshgrid(rows, columns)
    sides = paddle.full_like(x, SIDE * 2.0**index)
    return paddle.stack([x, y, sides, sides], axis=-1).reshape([-1, 4])
