"""Distillation: frozen teachers, the losses between what they and the student record, and the model of both.

The package is callable: ``ppkd.distill(student="student.yml", slim="slim.yml")`` trains as ``tools/train.py`` does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ppkd.distill.build import build_distiller
from ppkd.distill.loss import DistillLoss, Needs, Wiring
from ppkd.distill.model import DistillModel
from ppkd.distill.pairing import LevelPair, pair_levels
from ppkd.distill.schedule import WeightSchedule
from ppkd.distill.side import Progress, Side
from ppkd.distill.teacher import FrozenTeacher, Teacher

if TYPE_CHECKING:
    from ppkd.experiment.options import TrainOptions

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
        self,
        student: str | os.PathLike[str],
        slim: str | os.PathLike[str],
        *,
        overrides: Sequence[str] = (),
        options: TrainOptions | None = None,
    ) -> Path:
        """Train ``student`` (a detector's yaml) with the losses of ``slim``; see :func:`ppkd.experiment.distill`."""
        from ppkd.experiment import TrainOptions, distill

        return distill(student, slim, overrides=overrides, options=options or TrainOptions())


sys.modules[__name__].__class__ = _Package
