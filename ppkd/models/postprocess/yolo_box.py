"""Decoding of YOLOv3's raw maps to boxes in pixels of the original image."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor
from paddle.vision.ops import yolo_box

from ppkd.config import register
from ppkd.models.postprocess.decoder import Decoder


@register(shared=("num_classes",))
class YOLOBox(Decoder):
    """Decodes all levels, coarsest first; ``downsample_ratio`` is the stride of the first, halved level by level.

    Boxes whose objectness is below ``conf_thresh`` become zeros with score 0. ``clip_bbox`` cuts boxes at the image.
    """

    def __init__(
        self,
        *,
        num_classes: int = 80,
        conf_thresh: float = 0.005,
        downsample_ratio: int = 32,
        clip_bbox: bool = True,
        scale_x_y: float = 1.0,
    ):
        self.num_classes = num_classes
        self.conf_thresh = conf_thresh
        self.downsample_ratio = downsample_ratio
        self.clip_bbox = clip_bbox
        self.scale_x_y = scale_x_y

    def __call__(
        self, raw: Sequence[Tensor], places: Sequence[Sequence[float]], im_shape: Tensor, scale_factor: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Boxes float32 [N, P, 4] x1, y1, x2, y2 in pixels of the original images, and scores float32 [N, C, P].

        ``raw`` are maps [N, A * (5 + C), H, W]; ``places`` are the anchors of each level, a flat w, h, w, h... in
        pixels of the input; ``im_shape`` and ``scale_factor`` as in the batch. The original size is rounded to the
        nearest pixel.
        """
        original = paddle.floor(im_shape / scale_factor + 0.5).astype("int32")
        boxes, scores = [], []
        for i, level in enumerate(raw):
            box, score = yolo_box(
                level,
                original,
                [int(side) for side in places[i]],  # the operator takes whole pixels only
                self.num_classes,
                self.conf_thresh,
                self.downsample_ratio >> i,
                self.clip_bbox,
                scale_x_y=self.scale_x_y,
            )
            boxes.append(box)
            scores.append(score)
        return paddle.concat(boxes, axis=1), paddle.concat(scores, axis=1).transpose([0, 2, 1])
