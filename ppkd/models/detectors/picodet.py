"""PicoDet (Yu et al., arXiv:2111.00902)."""

from __future__ import annotations

from paddle import nn

from ppkd.config import register
from ppkd.models.detectors.one_stage import CompletingDetector
from ppkd.models.heads.pico_head import PicoHeadV2


@register(inject=("backbone", "neck", "head"), without_effect=("nms_cpu",))
class PicoDet(CompletingDetector[PicoHeadV2]):
    """One prediction per cell, whose four sides are distributions, on levels of strides 8, 16, 32 and 64.

    Loss terms are ``loss_vfl``, ``loss_bbox`` and ``loss_dfl``.
    """

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, head: PicoHeadV2):
        super().__init__(backbone=backbone, neck=neck, head=head)
