"""Adaptive training sample selection (Zhang et al., arXiv:1912.02424)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.structures.boxes import encode_distances, pairwise_iou, xyxy_to_cxcywh
from ppkd.structures.truth import Truth

Deviation = Literal["population", "sample"]

INSIDE = 0.01
"""An anchor's centre is inside a box if every side is farther away than this, in pixels."""


@dataclass(frozen=True)
class ATSSMatches:
    """For P anchors in each of N images with up to M boxes.

    ``box`` int64 [N, P], the box that an anchor answers for, 0 where it answers for none; ``positive`` bool [N, P];
    ``threshold`` float32 [N, M], the overlap from which on anchors are positive for a box.
    """

    box: Tensor
    positive: Tensor
    threshold: Tensor


@register
class ATSSAssigner:
    """Candidates of a box are the ``topk`` anchors of each level whose centres are nearest to its own.

    Positive are those that overlap it by the mean of the candidates' overlaps plus their standard deviation or more,
    and whose centre is inside it; of several boxes an anchor takes the one it overlaps most. ``deviation`` is that of
    the candidates as a population, as in PaddleDetection's GFL, or as a sample (by n - 1), as in the authors' own code
    and in PaddleDetection's PP-YOLOE; if it is not given, the head that asks decides.
    """

    def __init__(self, *, topk: int = 9, deviation: Deviation | None = None, force_gt_matching: Literal[False] = False):
        self.topk = topk
        self.deviation = deviation

    def __call__(
        self, anchors: Tensor, sizes: Sequence[int], truth: Truth, *, deviation: Deviation = "population"
    ) -> ATSSMatches:
        """Matches of corner ``anchors`` float32 [P, 4], ``sizes`` of them on each level; padding matches nothing.

        ``deviation`` is for an assigner without its own.
        """
        overlap = pairwise_iou(truth.boxes, anchors.unsqueeze(0))
        candidates = self._candidates(anchors, sizes, truth)
        values = paddle.take_along_axis(overlap, candidates, axis=2)
        threshold = self._threshold(values, self.deviation or deviation)
        centres = F.embedding(candidates, xyxy_to_cxcywh(anchors)[:, :2])
        inside = encode_distances(centres, truth.boxes.unsqueeze(2)).min(axis=-1) > INSIDE
        positive = (values >= threshold.unsqueeze(-1)) & inside & (truth.scores > 0).unsqueeze(-1)
        values = paddle.where(positive, values, paddle.full_like(values, -1))
        claimed = paddle.full_like(overlap, -1).put_along_axis(candidates, values, 2)
        return ATSSMatches(claimed.argmax(axis=1), claimed.max(axis=1) >= 0, threshold)

    def thresholds(self, anchors: Tensor, sizes: Sequence[int], truth: Truth) -> Tensor:
        """The overlap float32 [N, M] from which on candidates are positive; arguments as for a call."""
        overlap = pairwise_iou(truth.boxes, anchors.unsqueeze(0))
        values = paddle.take_along_axis(overlap, self._candidates(anchors, sizes, truth), axis=2)
        return self._threshold(values, self.deviation or "population")

    def _candidates(self, anchors: Tensor, sizes: Sequence[int], truth: Truth) -> Tensor:
        """Indices int64 [N, M, K] of the anchors nearest to each box."""
        centres, targets = xyxy_to_cxcywh(anchors)[:, :2], xyxy_to_cxcywh(truth.boxes)[..., :2]
        distance = ((targets.unsqueeze(2) - centres) ** 2).sum(axis=-1).sqrt()
        nearest, start = [], 0
        for level in paddle.split(distance, list(sizes), axis=2):
            size = level.shape[2]
            nearest.append(paddle.topk(level, min(self.topk, size), axis=2, largest=False)[1] + start)
            start += size
        return paddle.concat(nearest, axis=2)

    def _threshold(self, values: Tensor, deviation: Deviation) -> Tensor:
        mean = values.mean(axis=2, keepdim=True)
        count = max(values.shape[2] - (deviation == "sample"), 1)
        return mean.squeeze(2) + (((values - mean) ** 2).sum(axis=2) / count).sqrt()
