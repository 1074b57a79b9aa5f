"""Pooling of features at proposals (He et al., "Mask R-CNN", arXiv:1703.06870, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor
from paddle.vision.ops import roi_align

from ppkd.config import register
from ppkd.models.casting import float32, full_precision
from ppkd.structures import NO_STRIDE, LevelSpec
from ppkd.structures.boxes import area
from ppkd.utils.errors import ConfigError

ELSEWHERE = (-1e4, -1e4, -1e4 + 1, -1e4 + 1)
"""A box beside every image: zeros are pooled there, and no gradient comes from there."""
FINEST = 2
"""The finest level of a pyramid has stride 2 ** 2."""


@register
class RoIAlign:
    """Bilinear samples of ``resolution`` x ``resolution`` bins at each proposal, from the level that suits its size.

    A proposal of area ``canonical_size`` squared is pooled from the level of stride 2 ** ``canconical_level`` (the
    name is PaddleDetection's), one of half the side to the level below (Lin et al., arXiv:1612.03144, equation 1), but
    always to one of the levels ``start_level`` to ``end_level``, counted from the finest. All are pooled from the only
    level where ``in_specs`` has no other. A bin has ``sampling_ratio`` squared samples, with 0 as many as it covers
    cells. ``aligned`` moves boxes by half a cell, so that a cell's value is at its centre.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        resolution: int = 14,
        sampling_ratio: int = 0,
        canconical_level: int = 4,
        canonical_size: float = 224,
        start_level: int = 0,
        end_level: int = 3,
        aligned: bool = False,
    ):
        self.in_specs = tuple(in_specs)
        self.resolution = resolution
        self.sampling_ratio = sampling_ratio
        self.canonical_level = canconical_level
        self.canonical_size = canonical_size
        self.levels = _levels(in_specs, start_level, end_level)
        self.aligned = aligned
        self.out_specs = (LevelSpec(in_specs[0].channels, NO_STRIDE),)

    def __call__(self, features: Sequence[Tensor], proposals: Tensor) -> Tensor:
        """float32 [N, R, C, resolution, resolution] of the neck's ``features`` at corner boxes [N, R, 4] in pixels.

        Proposals without area, padding for instance, get zeros.
        """
        rows, side = proposals.shape[1], self.resolution
        counts = paddle.full([proposals.shape[0]], rows, dtype="int32")
        pooled = self.rows(features, proposals.flatten(0, 1), counts)
        return pooled.reshape([-1, rows, self.in_specs[0].channels, side, side])

    def rows(self, features: Sequence[Tensor], boxes: Tensor, counts: Tensor) -> Tensor:
        """float32 [K, C, resolution, resolution] at corner ``boxes`` [K, 4] of images that have ``counts`` int32 [N].

        Boxes without area get zeros.
        """
        with full_precision():
            return self._pool([float32(feature) for feature in features], boxes, counts)

    def _pool(self, features: Sequence[Tensor], boxes: Tensor, counts: Tensor) -> Tensor:
        level_of = self.level_of(boxes)
        elsewhere = paddle.to_tensor(ELSEWHERE, dtype="float32")
        pooled = []
        for level in self.levels:
            here = (level_of == level).unsqueeze(-1).astype("float32")
            at_level = roi_align(
                features[level],
                boxes * here + elsewhere * (1 - here),
                counts,
                self.resolution,
                spatial_scale=1.0 / self.in_specs[level].stride,
                sampling_ratio=self.sampling_ratio,
                aligned=self.aligned,
            )
            pooled.append(at_level)
        return paddle.add_n(pooled)

    def level_of(self, proposals: Tensor) -> Tensor:
        """The position of the level of each of the corner boxes [..., 4], int64 [...]; -1 without area."""
        size = area(proposals).sqrt()
        level = paddle.floor(paddle.log2(size / self.canonical_size + 1e-6) + self.canonical_level) - FINEST
        level = level.clip(min=self.levels.start, max=self.levels.stop - 1)
        return ((level + 1) * (size > 0).astype("float32")).astype("int64") - 1


def _levels(in_specs: Sequence[LevelSpec], start: int, end: int) -> range:
    """The positions to pool from: the only one, else ``start`` to ``end``; raises :class:`ConfigError`."""
    strides = [spec.stride for spec in in_specs]
    if len(strides) == 1:
        return range(1)
    expected = [1 << (FINEST + i) for i in range(end + 1)]
    if not 0 <= start <= end or strides[: end + 1] != expected:
        raise ConfigError(
            f"RoIAlign.start_level is {start} and end_level {end}: expected 0 <= start_level <= end_level and levels "
            f"of strides {expected}, the neck has {strides}."
        )
    return range(start, end + 1)
