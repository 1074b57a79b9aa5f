"""YOLOv3 (Redmon and Farhadi, "YOLOv3: An Incremental Improvement", arXiv:1804.02767)."""

from __future__ import annotations

from paddle import Tensor, nn

from ppkd.config import register
from ppkd.models.detectors.one_stage import OneStageDetector
from ppkd.models.heads.yolo_head import YOLOv3Head
from ppkd.models.postprocess.bbox_post_process import BBoxPostProcess
from ppkd.structures import Batch


@register(inject=("backbone", "neck", "yolo_head", "post_process"))
class YOLOv3(OneStageDetector[YOLOv3Head]):
    """One anchor-based prediction per cell and anchor on three levels, strides 8, 16 and 32.

    Loss terms are ``loss_xy``, ``loss_wh``, ``loss_obj`` and ``loss_cls``.
    """

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, yolo_head: YOLOv3Head, post_process: BBoxPostProcess):
        super().__init__(backbone=backbone, neck=neck, head=yolo_head, head_name="yolo_head")
        self._post_process = post_process

    @property
    def post_process(self) -> BBoxPostProcess:
        """Decoding and suppression."""
        return self._post_process

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Decoded and suppressed detections in pixels of the original images."""
        maps = self.head(self.features(batch))
        # The decoder takes the coarsest level first, as in PaddleDetection.
        return self.post_process(maps[::-1], self.head.level_anchors[::-1], batch["im_shape"], batch["scale_factor"])
