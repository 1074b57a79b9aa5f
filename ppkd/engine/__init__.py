"""Training a model: schedules, optimizer, loop, hooks, checkpoints and evaluation; :mod:`ppkd.experiment` runs files.

Nothing is imported until it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "Trainer": "ppkd.engine.trainer",
    "Update": "ppkd.engine.update",
    "evaluate": "ppkd.engine.evaluation",
}

__all__ = ["Trainer", "Update", "evaluate"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
