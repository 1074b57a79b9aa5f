"""Training: schedules, optimizer, loop, hooks, checkpoints and evaluation.

Nothing is imported until it is asked for: ``ppkd.engine.train`` and ``ppkd.engine.evaluate_config`` run configurations.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "Trainer": "ppkd.engine.trainer",
    "distill": "ppkd.engine.run",
    "evaluate": "ppkd.engine.evaluation",
    "evaluate_config": "ppkd.engine.run_evaluation",
    "train": "ppkd.engine.run",
}

__all__ = ["Trainer", "distill", "evaluate", "evaluate_config", "train"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
