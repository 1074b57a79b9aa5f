"""From raw maps to detections."""

from __future__ import annotations

from collections.abc import Sequence

from paddle import Tensor

from ppkd.config import register
from ppkd.models.postprocess.suppression import Suppression
from ppkd.models.postprocess.yolo_box import YOLOBox


@register(inject=("decode", "nms"))
class BBoxPostProcess:
    """A decoder, then non-maximum suppression."""

    def __init__(self, *, decode: YOLOBox, nms: Suppression):
        self.decode = decode
        self.nms = nms

    def __call__(
        self, maps: Sequence[Tensor], anchors: Sequence[Sequence[float]], im_shape: Tensor, scale_factor: Tensor
    ) -> dict[str, Tensor]:
        """``bbox`` float32 [K, 6] class, score, x1, y1, x2, y2 in original pixels, and ``bbox_num`` int32 [N]."""
        boxes, scores = self.decode(maps, anchors, im_shape, scale_factor)
        detections, counts = self.nms(boxes, scores)
        return {"bbox": detections, "bbox_num": counts}
