"""From a trained detector to Paddle Inference: export, preprocessing, prediction.

The two names below are imported when first used, so that the command lines' ``--help`` loads neither Paddle nor NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppkd.deploy.export import export_model
    from ppkd.deploy.predictor import Predictor

__all__ = ["Predictor", "export_model"]

_MODULES = {"Predictor": "ppkd.deploy.predictor", "export_model": "ppkd.deploy.export"}


def __getattr__(name: str) -> Any:
    """A public name, imported from its module on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'ppkd.deploy' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
