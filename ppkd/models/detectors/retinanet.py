"""RetinaNet (Lin et al., "Focal Loss for Dense Object Detection", arXiv:1708.02002)."""

from __future__ import annotations

from paddle import nn

from ppkd.config import register
from ppkd.models.detectors.one_stage import CompletingDetector
from ppkd.models.heads.retina_head import RetinaHead


@register(inject=("backbone", "neck", "head"))
class RetinaNet(CompletingDetector[RetinaHead]):
    """Several anchors per cell on the levels of a feature pyramid, in the paper nine on strides 8 to 128.

    Loss terms are ``loss_cls`` and ``loss_reg``.
    """

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, head: RetinaHead):
        super().__init__(backbone=backbone, neck=neck, head=head)
