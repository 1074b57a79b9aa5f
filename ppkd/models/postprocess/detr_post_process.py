"""From the answers of queries to detections, without suppression."""

from __future__ import annotations

from typing import Literal

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.casting import float32, full_precision
from ppkd.models.layers.select import best_rows, take_rows
from ppkd.structures.boxes import cxcywh_to_xyxy


@register(shared=("num_classes", "use_focal_loss"), without_effect=("bbox_decode_type", "dual_queries", "dual_groups"))
class DETRPostProcess:
    """The ``num_top_queries`` best scores among all classes of all queries: one query may be found as several classes.

    Boxes are shares of the network's input, padding included, so that ``bbox_decode_type`` need not tell whether there
    is any.
    """

    def __init__(self, *, num_classes: int = 80, num_top_queries: int = 100, use_focal_loss: Literal[True] = True):
        self.num_classes = num_classes
        self.num_top_queries = num_top_queries

    def __call__(
        self, logits: Tensor, boxes: Tensor, size: Tensor, im_shape: Tensor, scale_factor: Tensor
    ) -> dict[str, Tensor]:
        """``bbox`` float32 [K, 6] class, score, x1, y1, x2, y2 in original pixels, and ``bbox_num`` int32 [N].

        Args:
            logits: float [N, Q, C].
            boxes: float [N, Q, 4], cx, cy, w, h in shares of the input.
            size: height and width of the input, int [2].
            im_shape: height and width of the images in it, float32 [N, 2].
            scale_factor: by how much these were resized, y and x, float32 [N, 2]; original sizes are whole pixels.
        """
        with full_precision():
            scores = F.sigmoid(float32(logits)).flatten(1)
            index = best_rows(scores, self.num_top_queries)
            pixels = size.astype("float32") / im_shape * paddle.floor(im_shape / scale_factor + 0.5)
            corners = cxcywh_to_xyxy(float32(boxes)) * pixels.flip(axis=1).tile([1, 2]).unsqueeze(1)
            rows = [
                (index % self.num_classes).astype("float32").unsqueeze(-1),
                paddle.take_along_axis(scores, index, axis=1, broadcast=False).unsqueeze(-1),
                take_rows(corners, index // self.num_classes),
            ]
            counts = paddle.ones_like(index).sum(axis=1).astype("int32")
        return {"bbox": paddle.concat(rows, axis=-1).flatten(0, 1), "bbox_num": counts}
