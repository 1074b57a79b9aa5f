"""Non-maximum suppression class by class."""

from __future__ import annotations

from typing import Literal

import paddle
from paddle import Tensor, _C_ops

from ppkd.config import register
from ppkd.models.postprocess.suppression import Suppression


@register(without_effect=("cpu", "trt"))
class MultiClassNMS(Suppression):
    """Keeps, per class, boxes that overlap no better one by more than ``nms_threshold``.

    Boxes scoring ``score_threshold`` or less are dropped first, then all but the ``nms_top_k`` best of each class; at
    the end ``keep_top_k`` per image remain (-1: all). ``nms_eta`` below 1 lowers the threshold from box to box.
    ``normalized`` tells whether a side's length is x2 - x1 (true) or one more. ``background_label`` is a class to leave
    out (-1: none). ``cpu`` changes nothing: the operator runs on the CPU in any case.
    """

    def __init__(
        self,
        *,
        score_threshold: float = 0.05,
        nms_top_k: int = -1,
        keep_top_k: int = 100,
        nms_threshold: float = 0.5,
        normalized: bool = True,
        nms_eta: float = 1.0,
        background_label: int = -1,
        return_rois_num: Literal[True] = True,
        cpu: bool = False,
    ):
        self.score_threshold = score_threshold
        self.nms_top_k = nms_top_k
        self.keep_top_k = keep_top_k
        self.nms_threshold = nms_threshold
        self.normalized = normalized
        self.nms_eta = nms_eta
        self.background_label = background_label

    def __call__(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Detections float32 [K, 6] class, score, x1, y1, x2, y2, image after image, and their counts int32 [N].

        ``boxes`` are float32 [N, P, 4], or [N, P, C, 4] if every class has its own; ``scores`` float32 [N, C, P].
        """
        rows = None
        if boxes.ndim == 4:
            rows = paddle.full([boxes.shape[0]], boxes.shape[1], dtype="int32")
            boxes, scores = boxes.flatten(0, 1), scores.transpose([0, 2, 1]).flatten(0, 1)
        detections, _, counts = _C_ops.multiclass_nms3(
            boxes,
            scores,
            rows,
            self.score_threshold,
            self.nms_top_k,
            self.keep_top_k,
            self.nms_threshold,
            self.normalized,
            self.nms_eta,
            self.background_label,
        )
        return detections, counts
