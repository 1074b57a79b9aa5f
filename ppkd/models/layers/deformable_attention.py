"""Attention to a few places of several maps (Zhu et al., "Deformable DETR", arXiv:2010.04159)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Constant, XavierUniform

from ppkd.models.casting import float32, full_precision
from ppkd.models.layers.linear import linear


class MSDeformableAttention(nn.Layer):
    """Each query looks at ``points`` places of each of ``levels`` maps with each of ``heads``, all within its box.

    Places lie at the box's centre plus a learned offset, of which ``points`` make half a side of the box. They start on
    rays, one for each head, at 1 to ``points`` steps.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int):
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        places = heads * levels * points
        self.sampling_offsets = linear(channels, places * 2, weight=Constant(0.0))
        self.attention_weights = linear(channels, places, weight=Constant(0.0), bias=0.0)
        self.value_proj = linear(channels, channels, weight=XavierUniform(), bias=0.0)
        self.output_proj = linear(channels, channels, weight=XavierUniform(), bias=0.0)
        self.sampling_offsets.bias.set_value(self._rays().flatten())

    def forward(self, queries: Tensor, boxes: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """What each query finds, [N, Q, channels].

        Args:
            queries: float [N, Q, channels].
            boxes: float32 [N, Q, 4], cx, cy, w, h in shares of the image.
            maps: float [N, channels, H, W] of each level.
        """
        offsets = self.sampling_offsets(queries).reshape([0, 0, self.heads, self.levels, self.points, 2])
        shares = F.softmax(self.attention_weights(queries).reshape([0, 0, self.heads, self.levels * self.points]))
        values = [self._values(level) for level in maps]
        with full_precision():
            found = self._sample(values, boxes, float32(offsets), float32(shares))
        return self.output_proj(found)

    def _values(self, level: Tensor) -> Tensor:
        """What a map [N, channels, H, W] offers to each head: float32 [N * heads, channels / heads, H, W]."""
        height, width = level.shape[-2:]
        values = self.value_proj(level.flatten(2).transpose([0, 2, 1])).transpose([0, 2, 1])
        return float32(values.reshape([-1, values.shape[1] // self.heads, height, width]))

    def _sample(self, values: Sequence[Tensor], boxes: Tensor, offsets: Tensor, shares: Tensor) -> Tensor:
        """The weighted means [N, Q, channels] of ``values`` around ``boxes``; places outside count as zeros.

        ``offsets`` are [N, Q, heads, levels, points, 2], ``shares`` [N, Q, heads, levels * points].
        """
        boxes = boxes.unsqueeze(2).unsqueeze(3).unsqueeze(4)
        places = boxes[..., :2] + offsets / self.points * boxes[..., 2:] * 0.5
        grids = (2 * places - 1).transpose([0, 2, 3, 1, 4, 5]).flatten(0, 1)
        samples = [F.grid_sample(level, grids[:, i], align_corners=False) for i, level in enumerate(values)]
        shares = shares.transpose([0, 2, 1, 3]).flatten(0, 1).unsqueeze(1)
        means = (paddle.concat(samples, axis=-1) * shares).sum(axis=-1)
        return means.reshape([-1, self.heads * means.shape[1], means.shape[2]]).transpose([0, 2, 1])

    def _rays(self) -> Tensor:
        """The offsets at the start, float32 [heads, levels, points, 2]: rays to the sides of a square."""
        angles = paddle.arange(self.heads, dtype="float32") * (2 * math.pi / self.heads)
        rays = paddle.stack([angles.cos(), angles.sin()], axis=-1)
        rays = (rays / rays.abs().max(axis=-1, keepdim=True)).reshape([self.heads, 1, 1, 2])
        steps = paddle.arange(1, self.points + 1, dtype="float32").reshape([1, 1, self.points, 1])
        return (rays * steps).expand([self.heads, self.levels, self.points, 2])
