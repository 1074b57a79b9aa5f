"""FBKD: attention-guided and non-local distillation of features."""

from ppkd.distill.losses.fbkd.loss import FBKD, FBKDFeatureLoss

__all__ = ["FBKD", "FBKDFeatureLoss"]
