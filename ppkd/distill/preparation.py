"""What a loss is given when it prepares itself outside of training steps: both detectors and the training set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ppkd.data.training_set import TrainingSet

if TYPE_CHECKING:
    from ppkd.distill.teacher import FrozenTeacher
    from ppkd.models.detectors.detector import Detector


@dataclass(frozen=True)
class Material:
    """The ``student`` as it is now and the ``teacher``, both in evaluation mode, and the training set.

    ``name`` is the key of the loss in the slim file.
    """

    name: str
    student: Detector
    teacher: FrozenTeacher
    images: TrainingSet
