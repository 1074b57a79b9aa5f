"""The towers of RetinaNet's head."""

from __future__ import annotations

from ppkd.config import register
from ppkd.models.heads.fcos_feat import FCOSFeat


@register
class RetinaFeat(FCOSFeat):
    """The towers of FCOS under RetinaNet's name; names of weights and settings are the same."""
