"""Generalized focal loss (Li et al., arXiv:2006.04388) and its second version (Li et al., arXiv:2011.12885)."""

from __future__ import annotations

from paddle import nn

from ppkd.config import register
from ppkd.models.detectors.one_stage import CompletingDetector
from ppkd.models.heads.gfl_head import GFLHead


@register(inject=("backbone", "neck", "head"))
class GFL(CompletingDetector[GFLHead]):
    """One prediction per cell, whose four sides are distributions, on the levels of a feature pyramid.

    Loss terms are ``loss_qfl``, ``loss_bbox`` and ``loss_dfl``. With a head of version 2 it records the quality too.
    """

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, head: GFLHead):
        super().__init__(backbone=backbone, neck=neck, head=head)
