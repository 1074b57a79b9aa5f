"""Matching of anchors to boxes by overlap (Ren et al., "Faster R-CNN", arXiv:1506.01497)."""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppkd.config import register
from ppkd.structures.boxes import pairwise_iou
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError


@dataclass(frozen=True)
class Matches:
    """For P anchors in each of N images: ``box`` int64 [N, P], the box that overlaps most; bool [N, P] ``positive``
    and ``negative``; an anchor that is neither is ignored."""

    box: Tensor
    positive: Tensor
    negative: Tensor


@register
class MaxIoUAssigner:
    """Anchors overlapping a box by ``positive_overlap`` or more are positive, all below ``negative_overlap`` negative.

    With ``allow_low_quality`` those anchors that overlap some box most, if at all, are positive too; they still belong
    to the box that they themselves overlap most, as in the reference.
    """

    def __init__(self, *, positive_overlap: float, negative_overlap: float, allow_low_quality: bool = True):
        if not 0 <= negative_overlap <= positive_overlap <= 1:
            raise ConfigError(
                f"MaxIoUAssigner.negative_overlap is {negative_overlap} and positive_overlap {positive_overlap}: "
                "expected 0 <= negative_overlap <= positive_overlap <= 1."
            )
        self.positive_overlap = positive_overlap
        self.negative_overlap = negative_overlap
        self.allow_low_quality = allow_low_quality

    def __call__(self, anchors: Tensor, truth: Truth, *, crowd_overlap: float | None = None) -> Matches:
        """Matches of corner ``anchors`` float32 [P, 4], or [N, P, 4] of each image; padding matches nothing.

        Boxes around crowds are boxes like others unless ``crowd_overlap`` is given: then nothing matches them, and
        where that is above 0 anchors that overlap one by more are ignored, except in images of crowds alone, where
        all anchors are negative. PaddleDetection's two-stage detectors have one, its RetinaNet has none.
        """
        real = (truth.scores > 0).astype("float32")
        overlap = pairwise_iou(truth.boxes * real.unsqueeze(-1), anchors)
        if crowd_overlap is None or truth.crowd is None:
            return self._match(overlap)
        crowd = truth.crowd.unsqueeze(-1)
        objects = (real * (1 - truth.crowd)).sum(axis=1, keepdim=True) > 0
        near = (overlap * crowd).max(axis=1) > crowd_overlap if crowd_overlap > 0 else paddle.zeros_like(objects)
        ignored = near & objects
        found = self._match(overlap * (1 - crowd) * (~ignored).astype("float32").unsqueeze(1))
        return Matches(found.box, found.positive, found.negative & ~ignored)

    def _match(self, overlap: Tensor) -> Matches:
        """Matches by the ``overlap`` [N, M, P] of boxes and anchors."""
        best = overlap.max(axis=1)
        positive = best >= self.positive_overlap
        if self.allow_low_quality:
            closest = (overlap == overlap.max(axis=2, keepdim=True)) & (overlap > 0)
            positive = positive | closest.any(axis=1)
        return Matches(overlap.argmax(axis=1), positive, (best < self.negative_overlap) & ~positive)
