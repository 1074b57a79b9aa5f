"""GID: general instance distillation (Dai et al., CVPR 2021, arXiv 2103.02340)."""

from ppkd.distill.losses.gid.loss import GID

__all__ = ["GID"]
