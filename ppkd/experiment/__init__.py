"""Experiments: a detector's file, a slim file and options become a run, or an evaluation.

This is the only place that knows configurations, data, detectors, distillation and the engine together. Nothing is
imported until it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppkd.experiment.detector import Detector
    from ppkd.experiment.evaluation import evaluate_config
    from ppkd.experiment.experiment import Experiment
    from ppkd.experiment.options import TrainOptions
    from ppkd.experiment.training import distill, train

_EXPORTS = {
    "Detector": "ppkd.experiment.detector",
    "Experiment": "ppkd.experiment.experiment",
    "TrainOptions": "ppkd.experiment.options",
    "distill": "ppkd.experiment.training",
    "evaluate_config": "ppkd.experiment.evaluation",
    "train": "ppkd.experiment.training",
}

__all__ = ["Detector", "Experiment", "TrainOptions", "distill", "evaluate_config", "train"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
