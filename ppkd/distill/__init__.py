"""Distillation: frozen teachers, the losses between what they and the student record, and the model of both.

The package is callable: ``ppkd.distill(student="student.yml", teacher="output/teacher", method="cwd")`` trains as
``ppkd train`` does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ppkd.distill.build import build_distiller
from ppkd.distill.loss import DistillLoss, Needs, Wiring
from ppkd.distill.model import DistillModel
from ppkd.distill.pairing import LevelPair, pair_levels
from ppkd.distill.schedule import WeightSchedule
from ppkd.distill.side import Progress, Side
from ppkd.distill.teacher import FrozenTeacher, Teacher

__all__ = [
    "DistillLoss",
    "DistillModel",
    "FrozenTeacher",
    "LevelPair",
    "Needs",
    "Progress",
    "Side",
    "Teacher",
    "WeightSchedule",
    "Wiring",
    "build_distiller",
    "pair_levels",
]


class _Package(ModuleType):
    def __call__(
        self, student: str | os.PathLike[str], slim: str | os.PathLike[str] | None = None, **given: Any
    ) -> Path:
        """Train ``student`` (a detector's yaml) with the losses of ``slim``: :func:`ppkd.experiment.distill`.

        ``teacher``, ``data`` and ``method`` say the rest in one line: ``ppkd.distill(student="student.yml",
        teacher="output/teacher", data="data.yml", method="cwd")``.
        """
        from ppkd.experiment import distill

        return distill(student, slim, **given)


sys.modules[__name__].__class__ = _Package
