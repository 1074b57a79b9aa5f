"""DETRDistill: what matched queries answer, and maps where the teacher's queries find objects (arXiv 2211.10156)."""

from ppkd.distill.losses.detrdistill.features import DETRDistillFeatures
from ppkd.distill.losses.detrdistill.logits import DETRDistill

__all__ = ["DETRDistill", "DETRDistillFeatures"]
