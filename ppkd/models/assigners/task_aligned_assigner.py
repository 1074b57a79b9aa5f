"""Task-aligned assignment (Feng et al., "TOOD", arXiv:2108.07755)."""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.structures.boxes import encode_distances, pairwise_iou
from ppkd.structures.truth import Truth

INSIDE = 1e-9
"""A cell's point is inside a box if every side is farther away than this, in pixels."""


@dataclass(frozen=True)
class AlignedMatches:
    """For P cells in each of N images.

    ``box`` int64 [N, P], the box that a cell answers for, 0 where it answers for none; ``positive`` bool [N, P];
    ``rating`` float32 [N, P], what its class is to score, 0 where it answers for none.
    """

    box: Tensor
    positive: Tensor
    rating: Tensor


@register
class TaskAlignedAssigner:
    """Positive for a box are the ``topk`` cells inside it of the largest score^``alpha`` * overlap^``beta``.

    Score and overlap are those of the cell's own prediction. Of several boxes a cell takes the one it overlaps most.
    Ratings are that product, scaled so that a box's largest is its largest overlap.
    """

    def __init__(self, *, topk: int = 13, alpha: float = 1.0, beta: float = 6.0, eps: float = 1e-9):
        self.topk = topk
        self.alpha = alpha
        self.beta = beta
        self.eps = eps

    @paddle.no_grad()
    def __call__(self, scores: Tensor, boxes: Tensor, points: Tensor, truth: Truth) -> AlignedMatches:
        """Matches of cells at ``points`` float32 [P, 2] with predicted ``scores`` [N, P, C] and ``boxes`` [N, P, 4].

        Boxes and points are in pixels of the input; padding matches nothing.
        """
        overlap = pairwise_iou(truth.boxes, boxes)
        score = paddle.take_along_axis(scores.transpose([0, 2, 1]), truth.labels.unsqueeze(-1), axis=1)
        inside = encode_distances(points, truth.boxes.unsqueeze(2)).min(axis=-1) > INSIDE
        inside = inside & (truth.scores > 0).unsqueeze(-1)
        aligned = (score**self.alpha) * (overlap**self.beta) * inside.astype("float32")
        positive = self._best(aligned) & inside
        several = positive.astype("int64").sum(axis=1, keepdim=True) > 1
        most = F.one_hot(overlap.argmax(axis=1), overlap.shape[1]).transpose([0, 2, 1]) > 0
        positive = paddle.where(several, most, positive)
        chosen = positive.astype("float32")
        aligned, overlap = aligned * chosen, overlap * chosen
        largest = overlap.max(axis=-1, keepdim=True)
        rating = aligned / (aligned.max(axis=-1, keepdim=True) + self.eps) * largest
        return AlignedMatches(chosen.argmax(axis=1), positive.any(axis=1), rating.max(axis=1))

    def _best(self, aligned: Tensor) -> Tensor:
        """Where the ``topk`` largest of every row of [N, M, P] are, bool."""
        indices = paddle.topk(aligned, min(self.topk, aligned.shape[-1]), axis=-1)[1]
        ones = paddle.ones(indices.shape, aligned.dtype)
        return paddle.zeros_like(aligned).put_along_axis(indices, ones, 2) > 0
