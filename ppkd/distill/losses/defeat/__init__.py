"""DeFeat: distillation of decoupled features and classes (Guo et al., CVPR 2021, arXiv 2103.14475)."""

from ppkd.distill.losses.defeat.head import DeFeatHead, DeFeatHeadLoss
from ppkd.distill.losses.defeat.neck import DeFeat, DeFeatFeatureLoss

__all__ = ["DeFeat", "DeFeatFeatureLoss", "DeFeatHead", "DeFeatHeadLoss"]
