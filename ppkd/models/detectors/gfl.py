"""Generalized focal loss (Li et al., arXiv:2006.04388) and its second version (Li et al., arXiv:2011.12885)."""

from __future__ import annotations

from typing import ClassVar

from paddle import nn

from ppkd.config import register
from ppkd.models.detectors.dense import DenseDetector
from ppkd.models.heads.gfl_head import GFLHead
from ppkd.structures import Record, TowerDistributionRecord, TowerQualityRecord


@register(inject=("backbone", "neck", "head"))
class GFL(DenseDetector):
    """One prediction per cell, whose four sides are distributions, on the levels of a feature pyramid.

    Loss terms are ``loss_qfl``, ``loss_bbox`` and ``loss_dfl``. With a head of version 2 it records the quality too.
    """

    record: ClassVar[type[Record]] = TowerDistributionRecord

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, head: GFLHead):
        super().__init__(backbone=backbone, neck=neck, head=head)
        if head.dgqp_module is not None:
            self.record = TowerQualityRecord  # type: ignore[misc]
