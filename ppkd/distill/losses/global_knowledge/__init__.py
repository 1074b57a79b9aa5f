"""Global Knowledge: robust distilling by prototypes (Tang et al., ECCV 2022, arXiv 2210.09022)."""

from ppkd.distill.losses.global_knowledge.loss import GlobalKnowledge

__all__ = ["GlobalKnowledge"]
