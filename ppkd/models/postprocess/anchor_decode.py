"""From raw class logits and anchor offsets to detections."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.models.layers.select import best_rows, take_rows
from ppkd.models.postprocess.multiclass_nms import MultiClassNMS
from ppkd.structures.boxes import decode_deltas


def by_anchor(level: Tensor) -> Tensor:
    """[N, A, K, H, W] to [N, H * W * A, K], in the order of the anchors."""
    return level.transpose([0, 3, 4, 1, 2]).flatten(1, 3)


def join_levels(levels: Sequence[Tensor]) -> Tensor:
    """All anchors of all ``levels`` [N, A, K, H, W]: [N, P, K]."""
    return paddle.concat([by_anchor(level) for level in levels], axis=1)


class AnchorPostProcess:
    """Decodes the ``nms_pre`` anchors of each level whose best class scores highest, then suppresses.

    ``weights`` are those that the offsets were multiplied with in training. Boxes may reach beyond the image.
    """

    def __init__(self, *, nms: MultiClassNMS, nms_pre: int, weights: Sequence[float]):
        self.nms = nms
        self.nms_pre = nms_pre
        self.weights = tuple(weights)

    def __call__(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor], scale_factor: Tensor
    ) -> dict[str, Tensor]:
        """``bbox`` float32 [K, 6] class, score, x1, y1, x2, y2 in original pixels, and ``bbox_num`` int32 [N].

        ``logits`` [N, A, C, H, W], ``deltas`` [N, A, 4, H, W] and corner ``anchors`` [H * W * A, 4] level by level;
        ``scale_factor`` [N, 2] as in the batch.
        """
        boxes, scores = [], []
        for i, level_anchors in enumerate(anchors):
            level_logits = by_anchor(logits[i])
            best = best_rows(level_logits.max(axis=-1), self.nms_pre)
            offsets = take_rows(by_anchor(deltas[i]), best)
            boxes.append(decode_deltas(offsets, paddle.gather_nd(level_anchors, best.unsqueeze(-1)), self.weights))
            scores.append(F.sigmoid(take_rows(level_logits, best)))
        scale = paddle.concat([scale_factor.flip(axis=1)] * 2, axis=1).unsqueeze(1)
        detections, counts = self.nms(
            paddle.concat(boxes, axis=1) / scale, paddle.concat(scores, axis=1).transpose([0, 2, 1])
        )
        return {"bbox": detections, "bbox_num": counts}
