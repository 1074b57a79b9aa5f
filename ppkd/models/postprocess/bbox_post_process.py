"""From raw maps to detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paddle import Tensor

from ppkd.config import register
from ppkd.models.casting import float32, full_precision
from ppkd.models.postprocess.decoder import Decoder
from ppkd.models.postprocess.suppression import Suppression


@register(inject=("decode", "nms"))
class BBoxPostProcess:
    """A decoder, then non-maximum suppression."""

    def __init__(self, *, decode: Decoder, nms: Suppression):
        self.decode = decode
        self.nms = nms

    def __call__(self, raw: Sequence[Tensor], places: Any, im_shape: Tensor, scale_factor: Tensor) -> dict[str, Tensor]:
        """``bbox`` float32 [K, 6] class, score, x1, y1, x2, y2 in original pixels, and ``bbox_num`` int32 [N].

        ``raw`` and ``places`` are what the decoder takes.
        """
        with full_precision():
            boxes, scores = self.decode([float32(level) for level in raw], places, im_shape, scale_factor)
            detections, counts = self.nms(boxes, scores)
        return {"bbox": detections, "bbox_num": counts}
