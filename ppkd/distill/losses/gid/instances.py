"""GID's general instances of whole images (Dai et al., CVPR 2021, arXiv 2103.02340)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import paddle
from paddle import Tensor

from ppkd.distill.general_instances import COUNT, MAX_IOU, class_gap, first_kept
from ppkd.models.layers.select import best_rows, take_rows

CONSIDERED = 3000
"""So many of the best places of an image take part in the suppression."""
MIN_SIDE = 10.0
"""Instances are wider and higher than this, in pixels."""

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
    image_shape: Tensor,
    *,
    count: int = COUNT,
    rule: Rule = "class",
) -> Instances:
    """Where the scores of student and teacher differ most, with the box of the surer one, after suppression.

    Args:
        scores: the student's and the teacher's, float32 [N, P, C] in 0..1.
        boxes: the student's and the teacher's, corners float32 [N, P, 4] in pixels.
        image_shape: float32 [N, 2], height and width to which boxes are cut.
        count: how many instances an image has at most.
        rule: whether the largest difference of a class counts, as in the paper, or the difference of the two largest
            scores, as in the public reproduction.
    """
    gap = _gap(*scores, rule)
    chosen = paddle.where((gap > 0).unsqueeze(-1), boxes[1], boxes[0])
    limit = image_shape.astype("float32").flip(axis=1).tile([1, 2]).unsqueeze(1)
    chosen = paddle.minimum(chosen.clip(min=0), limit)
    large = (chosen[..., 2:] - chosen[..., :2] > MIN_SIDE).all(axis=-1)
    gap = paddle.where(large, gap.abs(), paddle.full_like(gap, -1.0))
    best = best_rows(gap, CONSIDERED)
    kept, real = first_kept(paddle.take_along_axis(gap, best, axis=1), take_rows(chosen, best), count, MAX_IOU)
    place = paddle.take_along_axis(best, kept, axis=1)
    return Instances(place, take_rows(chosen, place) * real.astype("float32").unsqueeze(-1), real)


def _gap(student: Tensor, teacher: Tensor, rule: Rule) -> Tensor:
    """How much surer the teacher is at each place, [N, P]; negative where the student is."""
    return class_gap(student, teacher) if rule == "class" else teacher.max(axis=-1) - student.max(axis=-1)
