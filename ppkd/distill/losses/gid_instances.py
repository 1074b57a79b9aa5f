"""GID's general instances of whole images, and their features (Dai et al., CVPR 2021, arXiv 2103.02340)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import paddle
from paddle import Tensor
from paddle.nn import functional as F
from paddle.vision.ops import roi_align

from ppkd.distill.losses.general_instances import first_kept
from ppkd.models.layers.select import best_rows, take_rows
from ppkd.structures.boxes import area

MAX_IOU = 0.3
CONSIDERED = 3000
"""So many of the best places of an image take part in the suppression."""
MIN_SIDE = 10.0
"""Instances are wider and higher than this, in pixels."""
CANONICAL_SIDE, CANONICAL_LEVEL = 224.0, 4
"""A box of this side belongs to the level of stride 2 to this power (Lin et al., arXiv 1612.03144, equation 1)."""
ELSEWHERE = (-1e4, -1e4, -1e4 + 1, -1e4 + 1)
"""A box beside every image: zeros are pooled there, and no gradient comes from there."""

Rule = Literal["class", "best"]


@dataclass(frozen=True)
class Instances:
    """K instances of each of N images.

    ``place`` int64 [N, K], where they come from; ``boxes`` float32 [N, K, 4], corners in pixels within the image, zeros
    where there is none; ``real`` bool [N, K], whether there is one.
    """

    place: Tensor
    boxes: Tensor
    real: Tensor


@paddle.no_grad()
def find_instances(
    scores: tuple[Tensor, Tensor],
    boxes: tuple[Tensor, Tensor],
    im_shape: Tensor,
    *,
    count: int = 10,
    rule: Rule = "class",
) -> Instances:
    """Where the scores of student and teacher differ most, with the box of the surer one, after suppression.

    Args:
        scores: the student's and the teacher's, float32 [N, P, C] in 0..1.
        boxes: the student's and the teacher's, corners float32 [N, P, 4] in pixels.
        im_shape: float32 [N, 2], height and width to which boxes are cut.
        count: how many instances an image has at most.
        rule: whether the largest difference of a class counts, as in the paper, or the difference of the two largest
            scores, as in the public reproduction.
    """
    gap = _gap(*scores, rule)
    chosen = paddle.where((gap > 0).unsqueeze(-1), boxes[1], boxes[0])
    limit = im_shape.astype("float32").flip(axis=1).tile([1, 2]).unsqueeze(1)
    chosen = paddle.minimum(chosen.clip(min=0), limit)
    large = (chosen[..., 2:] - chosen[..., :2] > MIN_SIDE).all(axis=-1)
    gap = paddle.where(large, gap.abs(), paddle.full_like(gap, -1.0))
    best = best_rows(gap, CONSIDERED)
    kept, real = first_kept(paddle.take_along_axis(gap, best, axis=1), take_rows(chosen, best), count, MAX_IOU)
    place = paddle.take_along_axis(best, kept, axis=1)
    return Instances(place, take_rows(chosen, place) * real.astype("float32").unsqueeze(-1), real)


def _gap(ours: Tensor, theirs: Tensor, rule: Rule) -> Tensor:
    """How much surer the teacher is at each place, [N, P]; negative where the student is."""
    if rule == "best":
        return theirs.max(axis=-1) - ours.max(axis=-1)
    gap = theirs - ours
    high, low = gap.max(axis=-1), gap.min(axis=-1)
    return paddle.where(high >= -low, high, low)


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
