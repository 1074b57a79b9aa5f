"""The cells of a pyramid for heads with one prediction each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppkd.models.heads.anchor_generator import cell_corners


@dataclass(frozen=True)
class CellGrid:
    """A point and a square anchor for every cell of levels with ``strides``.

    Points are the cells' upper left corners, moved by ``offset`` strides to the right and down; anchors are centred on
    them, with sides of ``scale`` strides. Only assigners need the anchors.
    """

    strides: tuple[int, ...]
    offset: float
    scale: float

    def points(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The points and strides of the cells of ``levels`` [..., H, W]: float32 [H * W, 3] x, y, stride in pixels."""
        points = []
        for i, stride in enumerate(self.strides):
            height, width = levels[i].shape[-2:]
            corners = cell_corners(height, width, stride, self.offset)
            points.append(paddle.concat([corners, paddle.full([height * width, 1], float(stride))], axis=-1))
        return points

    def anchors(self, points: Tensor) -> Tensor:
        """The corner boxes float32 [P, 4] around ``points`` [P, 3]."""
        half = points[:, 2:] * (self.scale / 2)
        return paddle.concat([points[:, :2] - half, points[:, :2] + half], axis=-1)
