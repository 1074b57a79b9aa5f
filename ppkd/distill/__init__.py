"""Distillation: the frozen teacher, the losses between records, and the model that introduces them."""

from ppkd.distill.build import build_distiller
from ppkd.distill.loss import Context, DistillLoss, LevelPair, pair_levels
from ppkd.distill.model import DistillModel
from ppkd.distill.schedule import WeightSchedule
from ppkd.distill.teacher import FrozenTeacher

__all__ = [
    "Context",
    "DistillLoss",
    "DistillModel",
    "FrozenTeacher",
    "LevelPair",
    "WeightSchedule",
    "build_distiller",
    "pair_levels",
]
