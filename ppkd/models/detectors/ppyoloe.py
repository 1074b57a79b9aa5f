"""PP-YOLOE and PP-YOLOE+ (Xu et al., arXiv:2203.16250)."""

from __future__ import annotations

from paddle import nn

from ppkd.config import register
from ppkd.models.detectors.dense import DenseDetector
from ppkd.models.detectors.detector import Detector
from ppkd.models.heads.ppyoloe_head import PPYOLOEHead


@register(inject=("backbone", "neck", "yolo_head"))
class PPYOLOE(DenseDetector):
    """One prediction per cell, whose four sides are distributions, on levels of strides 8, 16 and 32.

    Loss terms are ``loss_cls``, ``loss_iou`` and ``loss_dfl``. ``post_process`` is null in PaddleDetection's files: the
    head does that work.
    """

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, yolo_head: PPYOLOEHead, post_process: None = None):
        Detector.__init__(self)
        self.backbone = backbone
        self.neck = neck
        self.yolo_head = yolo_head

    @property
    def head(self) -> PPYOLOEHead:
        """The head, whose parameters are called ``yolo_head`` in published weights."""
        return self.yolo_head

    def set_progress(self, epoch: float) -> None:
        """Tell the head which assigner is in force at ``epoch``; 1.5 is the middle of the second epoch."""
        self.yolo_head.epoch = epoch
