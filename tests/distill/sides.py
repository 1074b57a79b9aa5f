"""Sides of losses for tests: a record by itself, or with all abilities of a detector behind it."""

from __future__ import annotations

from typing import Any

from ppkd.distill.side import Side
from ppkd.models.detectors.detector import Detector
from ppkd.structures import Record


def side(record: Record, detector: Detector | None = None, targets: Any = None) -> Side:
    """What a distillation model hands to a loss: ``record``, every ability of ``detector``, and its ``targets``."""
    return Side(record, {} if detector is None else detector.abilities(), targets)
