"""General instances: where student and teacher differ most (Dai et al., CVPR 2021, arXiv 2103.02340)."""

from __future__ import annotations

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.models.heads.anchor_generator import cell_corners
from ppkd.models.layers.select import take_rows
from ppkd.models.postprocess.dense_decode import by_anchor
from ppkd.structures.boxes import decode_distances, pairwise_iou

COUNT = 10
"""So many instances are wanted."""
MAX_IOU = 0.3
"""Boxes that overlap a better one by more are dropped."""


def class_gap(student: Tensor, teacher: Tensor) -> Tensor:
    """How much surer the teacher is of the class on which the two differ most; negative where the student is.

    Of equal differences the one with the surer teacher counts.

    Args:
        student: scores [..., C] in 0..1.
        teacher: likewise.
    """
    gap = teacher - student
    high, low = gap.max(axis=-1), gap.min(axis=-1)
    return paddle.where(high >= -low, high, low)


@paddle.no_grad()
def general_instances(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    """The cells of one level where general instances lie, bool [N, H * W]; no gradient.

    A cell's score is the largest difference of the two detectors' probabilities of a class, and its box that of the
    detector which is surer of this class. Of the best scores, boxes that overlap a better one by more than 0.3 are
    dropped, and 10 are kept. As published, all images of a batch compete and boxes of different images overlap.

    Args:
        student: its class logits [N, 1, C, H, W] and box distributions [N, 1, 4 * bins, H, W].
        teacher: likewise.
    """
    gap = class_gap(*(F.sigmoid(by_anchor(logits)) for logits, _ in (student, teacher)))
    boxes, soft_boxes = _boxes(student[1]), _boxes(teacher[1])
    chosen = paddle.where((gap >= 0).unsqueeze(-1).expand_as(boxes), soft_boxes, boxes)
    scores = gap.abs().reshape([1, -1])
    kept, real = first_kept(scores, chosen.reshape([1, -1, 4]), COUNT, MAX_IOU)
    found = paddle.zeros_like(scores).put_along_axis(kept, real.astype(scores.dtype), 1, reduce="add") > 0
    return found.reshape(gap.shape)


def _boxes(level: Tensor) -> Tensor:
    """Corner boxes [N, H * W, 4], in strides, of distributions [N, 1, 4 * bins, H, W]."""
    images, _, channels, height, width = level.shape
    bins = paddle.arange(channels // 4, dtype="float32").reshape([1, 1, -1, 1])
    sides = (F.softmax(level.reshape([images, 4, channels // 4, -1]), axis=2) * bins).sum(axis=2)
    return decode_distances(cell_corners(height, width, stride=1), sides.transpose([0, 2, 1]))


def first_kept(scores: Tensor, boxes: Tensor, count: int, max_iou: float) -> tuple[Tensor, Tensor]:
    """The first ``count`` boxes of each image that greedy suppression keeps: int64 [N, count], bool [N, count].

    The second says whether there was one left; places with a score below 0 do not take part. So few are wanted that
    taking the best and dropping its neighbours, over and over, needs neither sorting nor results on the host.

    Args:
        scores: [N, P].
        boxes: corners [N, P, 4].
        count: how many are wanted.
        max_iou: boxes that overlap a better one by more are dropped.
    """
    position, kept, real = paddle.arange(scores.shape[1]), [], []
    for _ in range(count):
        best = scores.argmax(axis=1, keepdim=True)
        kept.append(best)
        real.append(paddle.take_along_axis(scores, best, axis=1) >= 0)
        near = pairwise_iou(take_rows(boxes, best), boxes).squeeze(1) > max_iou
        scores = paddle.where(near | (position == best), paddle.full_like(scores, -1.0), scores)
    return paddle.concat(kept, axis=1), paddle.concat(real, axis=1)
