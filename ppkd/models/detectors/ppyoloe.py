"""PP-YOLOE and PP-YOLOE+ (Xu et al., arXiv:2203.16250)."""

from __future__ import annotations

from paddle import nn

from ppkd.config import register
from ppkd.models.detectors.one_stage import CompletingDetector
from ppkd.models.heads.ppyoloe_head import PPYOLOEHead


@register(inject=("backbone", "neck", "yolo_head"))
class PPYOLOE(CompletingDetector[PPYOLOEHead]):
    """One prediction per cell, whose four sides are distributions, on levels of strides 8, 16 and 32.

    Loss terms are ``loss_cls``, ``loss_iou`` and ``loss_dfl``. ``post_process`` is null in PaddleDetection's files: the
    head does that work.
    """

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, yolo_head: PPYOLOEHead, post_process: None = None):
        super().__init__(backbone=backbone, neck=neck, head=yolo_head, head_name="yolo_head")
