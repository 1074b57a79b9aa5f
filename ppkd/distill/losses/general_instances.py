"""General instances: where student and teacher disagree most (Dai et al., CVPR 2021, arXiv 2103.02340)."""

from __future__ import annotations

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.models.heads.anchor_generator import cell_corners
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
        return _suppress(score.flatten(), chosen.reshape([-1, 4])).reshape(score.shape)


def _boxes(level: Tensor) -> Tensor:
    """Corner boxes [N, H * W, 4], in strides, of distributions [N, 1, 4 * bins, H, W]."""
    images, _, channels, height, width = level.shape
    bins = paddle.arange(channels // 4, dtype="float32").reshape([1, 1, -1, 1])
    sides = (F.softmax(level.reshape([images, 4, channels // 4, -1]), axis=2) * bins).sum(axis=2)
    return decode_distances(cell_corners(height, width, stride=1), sides.transpose([0, 2, 1]))


def _suppress(scores: Tensor, boxes: Tensor) -> Tensor:
    """The first boxes that greedy suppression keeps, bool (K,), of scores (K,) >= 0 and boxes (K, 4).

    So few are wanted that taking the best and dropping its neighbours, 10 times, needs neither sorting nor a look at
    the results.
    """
    position = paddle.arange(scores.shape[0])
    kept = paddle.zeros_like(scores).astype("bool")
    for _ in range(COUNT):
        best = scores.argmax().reshape([1])
        itself = position == best
        kept = kept | (itself & (scores >= 0))
        near = pairwise_iou(boxes.index_select(best), boxes).squeeze(0) > MAX_IOU
        scores = paddle.where(near | itself, paddle.full_like(scores, -1.0), scores)
    return kept
