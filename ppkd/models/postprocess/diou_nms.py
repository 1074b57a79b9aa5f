"""Non-maximum suppression by distance-IoU, with and without a vote of the suppressed boxes."""

from __future__ import annotations

import paddle
from paddle import Tensor

from ppkd.config import register
from ppkd.models.layers.select import best_rows, take_rows
from ppkd.models.postprocess.suppression import Suppression
from ppkd.structures.boxes import pairwise_iou
from ppkd.utils.errors import ConfigError

_LEAST_WEIGHT = 1e-12


def pairwise_diou(boxes: Tensor, beta: float = 1.0) -> Tensor:
    """Distance-IoU (..., P, P) of corner boxes (..., P, 4): IoU - (d^2 / c^2)^``beta``.

    d is the distance of the two centres, c the diagonal of the smallest box around both (Zheng et al.,
    arXiv:1911.08287, where ``beta`` is 1). Boxes without area have IoU 0.
    """
    left, top, right, bottom = boxes.unsqueeze(-1).unbind(axis=-2)
    other_left, other_top, other_right, other_bottom = boxes.unsqueeze(-3).unbind(axis=-1)
    width = paddle.maximum(right, other_right) - paddle.minimum(left, other_left)
    height = paddle.maximum(bottom, other_bottom) - paddle.minimum(top, other_top)
    across = (left + right - other_left - other_right) * 0.5
    down = (top + bottom - other_top - other_bottom) * 0.5
    distance = (across.square() + down.square()) / (width.square() + height.square() + 1e-7)
    return pairwise_iou(boxes, boxes) - distance**beta


def greedy_survivors(suppresses: Tensor) -> Tensor:
    """Which candidates no surviving better one suppresses, bool [N, K].

    ``suppresses`` float32 [N, K, K] is 1 where candidate i would suppress candidate j, and 0 unless i < j. All
    candidates are judged at once, until nothing changes: at most K rounds, in practice a few (Cluster-NMS, Zheng et
    al., arXiv:2005.03572).
    """
    alive = (suppresses.sum(axis=1) < 0.5).astype(suppresses.dtype)
    changed = paddle.ones([], dtype="bool")

    def judge(alive: Tensor, changed: Tensor) -> tuple[Tensor, Tensor]:
        suppressors = paddle.matmul(alive.unsqueeze(1), suppresses).squeeze(1)
        survivors = (suppressors < 0.5).astype(alive.dtype)
        return survivors, (survivors != alive).any()

    alive, _ = paddle.static.nn.while_loop(lambda alive, changed: changed, judge, [alive, changed])
    return alive > 0.5


@register
class DIoUNMS(Suppression):
    """Keeps, per class, boxes whose distance-IoU with no better kept one is above ``nms_threshold``.

    Candidates are an image's ``nms_top_k`` best pairs of box and class, all classes together, that score above
    ``score_threshold``; ``keep_top_k`` detections per image remain (-1: all), best first. ``beta`` below 1 counts
    distant centres for more.
    """

    def __init__(
        self,
        *,
        score_threshold: float = 0.05,
        nms_top_k: int = 1000,
        keep_top_k: int = 100,
        nms_threshold: float = 0.5,
        beta: float = 1.0,
    ):
        if nms_top_k < 1:
            raise ConfigError(
                f"{type(self).__name__}.nms_top_k is {nms_top_k}, but every candidate is compared with every other: "
                "set a number above 0, 1000 for instance"
            )
        self.score_threshold = score_threshold
        self.nms_top_k = nms_top_k
        self.keep_top_k = keep_top_k
        self.nms_threshold = nms_threshold
        self.beta = beta

    def __call__(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Detections float32 [K, 6] class, score, x1, y1, x2, y2, image after image, and their counts int32 [N].

        ``boxes`` are float32 [N, P, 4], or [N, P, C, 4] if every class has its own; ``scores`` float32 [N, C, P].
        """
        pairs = scores.flatten(1)
        best = best_rows(pairs, self.nms_top_k)
        score = paddle.take_along_axis(pairs, best, axis=1, broadcast=False)
        places = paddle.shape(boxes)[1].astype("int64")
        label = best // places
        if boxes.ndim == 4:
            box = take_rows(boxes.transpose([0, 2, 1, 3]).flatten(1, 2), best)
        else:
            box = take_rows(boxes, best % places)
        valid = score > self.score_threshold
        same_class = label.unsqueeze(-1) == label.unsqueeze(-2)
        overlap = paddle.triu(pairwise_diou(box, self.beta) * same_class.astype(box.dtype), diagonal=1)
        kept = valid & greedy_survivors((overlap > self.nms_threshold).astype(box.dtype))
        if self.keep_top_k >= 0:
            kept = kept & (kept.astype("int64").cumsum(axis=1) <= self.keep_top_k)
        box = self.refine(box, score * valid.astype(score.dtype), overlap)
        table = paddle.concat([paddle.stack([label.astype(score.dtype), score], axis=-1), box], axis=-1)
        rows = paddle.nonzero(kept.flatten()).flatten()
        return paddle.gather(table.flatten(0, 1), rows), kept.astype("int32").sum(axis=1, dtype="int32")

    def refine(self, boxes: Tensor, scores: Tensor, overlap: Tensor) -> Tensor:
        """The candidates' boxes [N, K, 4] as they are reported; ``scores`` [N, K] are 0 where there is no candidate.

        ``overlap`` [N, K, K] is the distance-IoU of candidates i < j of one class, 0 elsewhere.
        """
        return boxes


@register
class VotingClusterDIoUNMS(DIoUNMS):
    """:class:`DIoUNMS` whose kept boxes are averages, as in LD (Zheng et al., arXiv:2102.12252).

    A kept box and the lesser ones of its class with a distance-IoU D above ``vote_threshold`` count with their scores
    times exp(-(1 - D)^2 / ``vote_sigma``); scores stay as they are.
    """

    def __init__(
        self,
        *,
        score_threshold: float = 0.05,
        nms_top_k: int = 1000,
        keep_top_k: int = 100,
        nms_threshold: float = 0.6,
        beta: float = 0.8,
        vote_threshold: float = 0.7,
        vote_sigma: float = 0.025,
    ):
        super().__init__(
            score_threshold=score_threshold,
            nms_top_k=nms_top_k,
            keep_top_k=keep_top_k,
            nms_threshold=nms_threshold,
            beta=beta,
        )
        self.vote_threshold = vote_threshold
        self.vote_sigma = vote_sigma

    def refine(self, boxes: Tensor, scores: Tensor, overlap: Tensor) -> Tensor:
        """The average boxes [N, K, 4]; see :meth:`DIoUNMS.refine`."""
        near = (overlap > self.vote_threshold).astype(overlap.dtype)
        weights = near * paddle.exp(-(1 - overlap).square() / self.vote_sigma) * scores.unsqueeze(1)
        own = scores.clip(min=_LEAST_WEIGHT).unsqueeze(-1)
        total = own + weights.sum(axis=-1, keepdim=True)
        return (own * boxes + paddle.matmul(weights, boxes)) / total
