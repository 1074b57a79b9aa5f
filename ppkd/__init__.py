"""Knowledge distillation of object detectors on PaddlePaddle.

The names below are imported when first used, so that ``import ppkd`` loads neither Paddle nor NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppkd import distill
    from ppkd.config import load_config
    from ppkd.deploy import Predictor, export_model
    from ppkd.distill import build_distiller
    from ppkd.engine.evaluation import evaluate
    from ppkd.experiment import Detector, TrainOptions, train
    from ppkd.models import build_detector
    from ppkd.models.weights import load_weights

__version__ = "0.1.0"

__all__ = [
    "Detector",
    "Predictor",
    "TrainOptions",
    "__version__",
    "build_detector",
    "build_distiller",
    "distill",
    "evaluate",
    "export_model",
    "load_config",
    "load_weights",
    "train",
]

_HOMES = {
    "load_config": "ppkd.config",
    "Predictor": "ppkd.deploy",
    "export_model": "ppkd.deploy",
    "build_distiller": "ppkd.distill",
    "evaluate": "ppkd.engine",
    "Detector": "ppkd.experiment",
    "TrainOptions": "ppkd.experiment",
    "train": "ppkd.experiment",
    "build_detector": "ppkd.models",
    "load_weights": "ppkd.models.weights",
}


def __getattr__(name: str) -> Any:
    """A public name, imported from its home on first use."""
    if name == "distill":
        return importlib.import_module("ppkd.distill")
    if name not in _HOMES:
        raise AttributeError(f"module 'ppkd' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
