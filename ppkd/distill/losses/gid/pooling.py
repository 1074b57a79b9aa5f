"""Features of GID's instances, each from the level that suits its size (Dai et al., CVPR 2021, arXiv 2103.02340)."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor
from paddle.nn import functional as F
from paddle.vision.ops import roi_align

from ppkd.structures.boxes import area

CANONICAL_SIDE, CANONICAL_LEVEL = 224.0, 4
"""A box of this side belongs to the level of stride 2 to this power (Lin et al., arXiv 1612.03144, equation 1)."""
ELSEWHERE = (-1e4, -1e4, -1e4 + 1, -1e4 + 1)
"""A box beside every image: zeros are pooled there, and no gradient comes from there."""


def pool_instances(features: Sequence[Tensor], strides: Sequence[int], boxes: Tensor, side: int) -> Tensor:
    """Features [N, K, C, side, side] of corner ``boxes`` [N, K, 4] in pixels, each from the level that suits its size.

    Bins have 2 x 2 bilinear samples, cells their value at their centre. C is the largest number of channels of a
    level; others are filled up with zeros.
    """
    images, count = boxes.shape[:2]
    number = paddle.full([images], count, dtype="int32")
    channels = max(level.shape[1] for level in features)
    level_of, elsewhere = _level_of(boxes, strides), paddle.to_tensor(ELSEWHERE, dtype="float32")
    pooled = []
    for i, (level, stride) in enumerate(zip(features, strides, strict=True)):
        here = paddle.where((level_of == i).unsqueeze(-1), boxes, elsewhere).flatten(0, 1)
        at_level = roi_align(level, here, number, side, spatial_scale=1.0 / stride, sampling_ratio=2, aligned=True)
        pooled.append(F.pad(at_level, [0, 0, 0, channels - level.shape[1], 0, 0, 0, 0], pad_from_left_axis=True))
    return paddle.add_n(pooled).reshape([images, count, channels, side, side])


def _level_of(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """The position among ``strides`` of the level that suits each box of [N, K, 4], int64 [N, K]."""
    power = (paddle.log2(area(boxes).sqrt() / CANONICAL_SIDE + 1e-8) + CANONICAL_LEVEL).floor()
    distance = [(power - (stride.bit_length() - 1)).abs() for stride in strides]
    return paddle.stack(distance).argmin(axis=0)
