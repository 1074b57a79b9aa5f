"""Proposals of a two-stage detector in operators that paddle2onnx converts."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor, _C_ops

from ppkd.models.heads.proposal_generator import ProposalGenerator
from ppkd.models.layers.select import best_rows, take_rows
from ppkd.models.postprocess.dense_decode import by_anchor
from ppkd.structures.boxes import decode_deltas

_NEVER, _LEAST = -1e10, -1e9
"""The logit of what is no proposal, and one that lies between it and every other."""


class OneImageProposals(ProposalGenerator):
    """What ``generator`` proposes, for a batch of one image.

    paddle2onnx has neither ``generate_proposals`` nor ``searchsorted``, and its form of ``multiclass_nms3``, which is
    used here instead, is right for one image alone.
    """

    def __init__(self, generator: ProposalGenerator) -> None:
        super().__init__(**vars(generator))

    def __call__(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor], im_shape: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Corner boxes float32 [1, post_nms_top_n, 4], best first, zeros behind, and their number int64 [1]."""
        limit = self.post_nms_top_n
        levels = [self._level(logits[i], deltas[i], level, im_shape) for i, level in enumerate(anchors)]
        nothing = paddle.concat([paddle.full([limit, 2], _NEVER), paddle.zeros([limit, 4])], axis=1)
        rows = paddle.concat([*levels, nothing])
        score, place = paddle.topk(rows[:, 1], limit)
        found = score > _LEAST
        boxes = paddle.gather(rows[:, 2:], place) * found.astype("float32").unsqueeze(-1)
        # paddle2onnx makes one number of a sum over everything, Paddle none: [1] in both after the reshape.
        return boxes.unsqueeze(0), found.astype("int64").sum().reshape([1])

    def _level(self, logits: Tensor, deltas: Tensor, anchors: Tensor, im_shape: Tensor) -> Tensor:
        """One level's proposals float32 [M, 6]: class 0, logit, corners."""
        scores = by_anchor(logits).squeeze(-1)
        best = best_rows(scores, self.pre_nms_top_n)
        boxes = decode_deltas(take_rows(by_anchor(deltas), best), paddle.gather_nd(anchors, best.unsqueeze(-1)))
        limits = paddle.concat([im_shape.flip(axis=1)] * 2, axis=1).unsqueeze(1)
        boxes = paddle.minimum(boxes, limits).clip(min=0)
        sides = (boxes[..., 2:] - boxes[..., :2]).min(axis=-1)
        # generate_proposals drops what is smaller than a pixel even where min_size is less.
        large = (sides >= max(self.min_size, 1.0)).astype("float32")
        scores = paddle.take_along_axis(scores, best, axis=1, broadcast=False)
        scores = scores * large + _NEVER * (1 - large)
        kept = self.pre_nms_top_n if self.topk_after_collect else self.post_nms_top_n
        settings = (_LEAST, self.pre_nms_top_n, kept, self.nms_thresh, True, self.eta, -1)
        return _C_ops.multiclass_nms3(boxes, scores.unsqueeze(1), None, *settings)[0]
