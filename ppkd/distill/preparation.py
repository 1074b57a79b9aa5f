"""What a loss is given when it prepares itself outside of training steps: both detectors and the training set."""

from __future__ import annotations

from dataclasses import dataclass

from ppkd.data.training_set import TrainingSet
from ppkd.structures import Abilities


@dataclass(frozen=True)
class Material:
    """The abilities of the ``student`` as it is now and of the ``teacher``, in evaluation mode, and the training set.

    Only those that the loss needs are there. ``name`` is the key of the loss in the slim file.
    """

    name: str
    student: Abilities
    teacher: Abilities
    images: TrainingSet
