"""Anchor boxes around the cells of a pyramid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import paddle
from paddle import Tensor, nn

from ppkd.config import register


@register
class RetinaAnchorGenerator(nn.Layer):
    """Per cell ``scales_per_octave`` sizes times the ``aspect_ratios`` (height / width), smallest size first.

    The smallest size on a level is ``octave_base_scale`` times its stride, the next ones grow by
    2^(1 / scales_per_octave) (Lin et al., arXiv:1708.02002, section 4). Anchors are centred on the cell's upper left
    corner, moved by ``offset`` strides to the right and down.
    """

    def __init__(
        self,
        *,
        octave_base_scale: float = 4,
        scales_per_octave: int = 3,
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        strides: Sequence[float] = (8.0, 16.0, 32.0, 64.0, 128.0),
        offset: float = 0.0,
    ):
        super().__init__()
        self.strides = tuple(strides)
        self.offset = offset
        self.num_anchors = scales_per_octave * len(aspect_ratios)
        scales = [octave_base_scale * 2 ** (i / scales_per_octave) for i in range(scales_per_octave)]
        for i, stride in enumerate(strides):
            boxes = [_centred(stride * scale, ratio) for scale in scales for ratio in aspect_ratios]
            self.register_buffer(f"cell_{i}", paddle.to_tensor(boxes, dtype="float32"), persistable=False)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Corner boxes float32 [H * W * A, 4] in pixels of the input for each of ``levels`` [..., H, W]."""
        return [self._level(i, *level.shape[-2:]) for i, level in enumerate(levels)]

    def _level(self, level: int, height: int, width: int) -> Tensor:
        corners = cell_corners(height, width, self.strides[level], self.offset)
        # Both sides of three dimensions: the oneDNN predictor crashes on [1, 1, 1, 4] + [A, 4], a level of one cell.
        shifts = paddle.concat([corners, corners], axis=-1).unsqueeze(1)
        return (shifts + getattr(self, f"cell_{level}").unsqueeze(0)).flatten(0, 1)


def cell_corners(height: int, width: int, stride: float, offset: float = 0.0) -> Tensor:
    """Upper left corners x, y of a level's cells in pixels of the input, float32 [H * W, 2], row by row.

    ``offset`` strides are added to both.
    """
    rows = (paddle.arange(height, dtype="float32") + offset) * stride
    columns = (paddle.arange(width, dtype="float32") + offset) * stride
    y, x = paddle.meshgrid(rows, columns)
    return paddle.stack([x, y], axis=-1).reshape([-1, 2])


def _centred(size: float, ratio: float) -> list[float]:
    """The box of area ``size`` squared and height / width ``ratio`` around the origin."""
    width = math.sqrt(size * size / ratio)
    height = ratio * width
    return [-width / 2, -height / 2, width / 2, height / 2]
