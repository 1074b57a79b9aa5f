"""Anchor boxes around the cells of a pyramid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.structures import Basis
from ppkd.utils.errors import ConfigError


@register(without_effect=("variance",))
class AnchorGenerator(nn.Layer):
    """Per cell every one of the ``anchor_sizes`` with every one of the ``aspect_ratios`` (height / width).

    Sizes are square roots of areas in pixels; a list of lists gives those of each level, a plain list all of them to
    every level, and so with the ratios. Anchors are centred on the cell's upper left corner, moved by ``offset``
    strides to the right and down; ``basis`` tells them to whoever compares two detectors. Raises :class:`ConfigError`
    unless all levels have equally many anchors.
    """

    def __init__(
        self,
        *,
        anchor_sizes: Sequence[float] | Sequence[Sequence[float]] = (32.0, 64.0, 128.0, 256.0, 512.0),
        aspect_ratios: Sequence[float] | Sequence[Sequence[float]] = (0.5, 1.0, 2.0),
        strides: Sequence[float] = (16.0,),
        offset: float = 0.0,
    ):
        super().__init__()
        self.strides = tuple(strides)
        self.offset = offset
        sizes = _of_levels(anchor_sizes, len(self.strides), "anchor_sizes")
        ratios = _of_levels(aspect_ratios, len(self.strides), "aspect_ratios")
        cells = [[_centred(size, ratio) for size in sizes[i] for ratio in ratios[i]] for i in range(len(self.strides))]
        self.num_anchors = len(cells[0])
        if {len(boxes) for boxes in cells} != {self.num_anchors}:
            raise ConfigError(
                f"{type(self).__name__} gives its levels {[len(boxes) for boxes in cells]} anchors per cell: one head "
                "serves them all, make the numbers equal."
            )
        sides = [[(round(box[2] - box[0], 3), round(box[3] - box[1], 3)) for box in boxes] for boxes in cells]
        self.basis = Basis(offset=offset, anchors=tuple(map(tuple, sides)))
        for i, boxes in enumerate(cells):
            self.register_buffer(f"cell_{i}", paddle.to_tensor(boxes, dtype="float32"), persistable=False)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Corner boxes float32 [H * W * A, 4] in pixels of the input for each of ``levels`` [..., H, W]."""
        return [self._level(i, *level.shape[-2:]) for i, level in enumerate(levels)]

    def _level(self, level: int, height: int, width: int) -> Tensor:
        corners = cell_corners(height, width, self.strides[level], self.offset)
        # Both sides of three dimensions: the oneDNN predictor crashes on [1, 1, 1, 4] + [A, 4], a level of one cell.
        shifts = paddle.concat([corners, corners], axis=-1).unsqueeze(1)
        return (shifts + getattr(self, f"cell_{level}").unsqueeze(0)).flatten(0, 1)


@register(without_effect=("variance",))
class RetinaAnchorGenerator(AnchorGenerator):
    """Per cell ``scales_per_octave`` sizes times the ``aspect_ratios`` (height / width), smallest size first.

    The smallest size on a level is ``octave_base_scale`` times its stride, the next ones grow by
    2^(1 / scales_per_octave) (Lin et al., arXiv:1708.02002, section 4).
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
        scales = [octave_base_scale * 2 ** (i / scales_per_octave) for i in range(scales_per_octave)]
        sizes = [[stride * scale for scale in scales] for stride in strides]
        super().__init__(anchor_sizes=sizes, aspect_ratios=aspect_ratios, strides=strides, offset=offset)


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


def _of_levels(given: Sequence[Any], levels: int, setting: str) -> Sequence[Sequence[float]]:
    """The numbers of each of so many ``levels``."""
    nested = [isinstance(item, Sequence) for item in given]
    if not any(nested):
        return [given] * levels
    if not all(nested) or len(given) not in (1, levels):
        raise ConfigError(
            f"AnchorGenerator.{setting} is {list(given)}: expected numbers for all levels, or one list for each of the "
            f"{levels} strides."
        )
    return given if len(given) == levels else list(given) * levels
