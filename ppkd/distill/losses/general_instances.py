"""General instances: where student and teacher disagree most (Dai et al., CVPR 2021, arXiv 2103.02340)."""

from __future__ import annotations

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.models.heads.anchor_generator import cell_corners
from ppkd.models.layers.select import take_rows
from ppkd.structures.boxes import decode_distances, pairwise_iou

COUNT = 10
MAX_IOU = 0.3


def general_instances(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> Tensor:
    """The cells of one level where general instances lie, bool [N, H * W]; no gradient.

    A cell's score is the largest difference of the two detectors' probabilities of a class, and its box that of the
    detector which is surer of this class. Of the best scores, boxes that overlap a better one by more than 0.3 are
    dropped, and 10 are kept. As published, all images of a batch compete and boxes of different images overlap.

    Args:
        ours: the student's class logits [N, 1, C, H, W] and box distributions [N, 1, 4 * bins, H, W].
        theirs: the teacher's.
    """
    with paddle.no_grad():
        logits, soft_logits = (cls_logits.squeeze(1).flatten(2) for cls_logits, _ in (ours, theirs))
        boxes, soft_boxes = _boxes(ours[1]), _boxes(theirs[1])
        gap = F.sigmoid(soft_logits) - F.sigmoid(logits)
        score, label = gap.abs().max(axis=1), gap.abs().argmax(axis=1, keepdim=True)
        surer = paddle.take_along_axis(gap, label, axis=1).transpose([0, 2, 1]) >= 0
        chosen = paddle.where(surer.expand_as(boxes), soft_boxes, boxes)
        rows = score.reshape([1, -1])
        kept, real = first_kept(rows, chosen.reshape([1, -1, 4]), COUNT, MAX_IOU)
        found = paddle.zeros_like(rows).put_along_axis(kept, real.astype(rows.dtype), 1, reduce="add") > 0
        return found.reshape(score.shape)


def _boxes(level: Tensor) -> Tensor:
    """Corner boxes [N, H * W, 4], in strides, of distributions [N, 1, 4 * bins, H, W]."""
    images, _, channels, height, width = level.shape
    bins = paddle.arange(channels // 4, dtype="float32").reshape([1, 1, -1, 1])
    sides = (F.softmax(level.reshape([images, 4, channels // 4, -1]), axis=2) * bins).sum(axis=2)
    return decode_distances(cell_corners(height, width, stride=1), sides.transpose([0, 2, 1]))


def first_kept(scores: Tensor, boxes: Tensor, count: int, max_iou: float) -> tuple[Tensor, Tensor]:
    """The first ``count`` boxes of each image that greedy suppression keeps: int64 [N, count], bool [N, count].

    The second says whether there was one left; places with a score below 0 do not take part. So few are wanted that
    taking the best and dropping its neighbours, over and over, needs neither sorting nor a look at the results.

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
