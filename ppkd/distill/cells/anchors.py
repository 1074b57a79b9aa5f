"""Anchors of cells: one square for each, or several shapes around the origin."""

from __future__ import annotations

import math
from collections.abc import Sequence

import paddle
from paddle import Tensor

from ppkd.models.heads.anchor_generator import cell_corners


def square_anchors(sizes: Sequence[Sequence[int]], strides: Sequence[int], scale: float) -> list[Tensor]:
    """One anchor for each cell, ``scale`` strides wide, centred on its upper left corner: float32 [H * W, 4] per level.

    ``sizes`` are the levels' heights and widths in cells, ``strides`` are in pixels.
    """
    levels = []
    for (height, width), stride in zip(sizes, strides, strict=True):
        centres = cell_corners(height, width, stride)
        levels.append(paddle.concat([centres - scale * stride / 2, centres + scale * stride / 2], axis=1))
    return levels


def centred_anchors(stride: int, scales: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Anchors float32 [A, 4] around the origin: sides ``scales`` times the ``stride`` at each height / width ratio."""
    halves = [
        (scale * stride / math.sqrt(ratio) / 2, scale * stride * math.sqrt(ratio) / 2)
        for scale in scales
        for ratio in ratios
    ]
    return paddle.to_tensor([[-x, -y, x, y] for x, y in halves], dtype="float32")
