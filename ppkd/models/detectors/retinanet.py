"""RetinaNet (Lin et al., "Focal Loss for Dense Object Detection", arXiv:1708.02002)."""

from __future__ import annotations

from typing import ClassVar

from paddle import nn

from ppkd.config import register
from ppkd.models.detectors.dense import DenseDetector
from ppkd.models.heads.retina_head import RetinaHead
from ppkd.structures import Record, TowerDeltaRecord


@register(inject=("backbone", "neck", "head"))
class RetinaNet(DenseDetector):
    """Several anchors per cell on the levels of a feature pyramid, in the paper nine on strides 8 to 128.

    Loss terms are ``loss_cls`` and ``loss_reg``.
    """

    record: ClassVar[type[Record]] = TowerDeltaRecord

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, head: RetinaHead):
        super().__init__(backbone=backbone, neck=neck, head=head)
