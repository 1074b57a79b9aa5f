"""Distillation: the frozen teacher, the losses between records, and the model that introduces them.

The package is callable: ``ppkd.distill(student="student.yml", slim="slim.yml")`` trains as ``tools/train.py`` does.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

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


class _Package(ModuleType):
    def __call__(self, student: str, slim: str, **options: Any) -> Any:
        """Train ``student`` (a detector's yaml) with the losses of ``slim``; see :func:`ppkd.engine.distill`."""
        from ppkd.engine import distill

        return distill(student, slim, **options)


sys.modules[__name__].__class__ = _Package
