"""A schedule for fewer epochs: every setting that counts epochs, or steps of a warm-up, in the same proportion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ppkd.config import Config
from ppkd.config.value import freeze

IN_EPOCHS = frozenset(
    {
        "max_epochs",
        "milestones",
        "epochs",
        "last_plateau_epochs",
        "static_assigner_epoch",
        "mixup_epoch",
        "warmup_epochs",
        "stop_epoch",
        "fade_epochs",
    }
)
IN_STEPS = "steps"
SCHEDULERS = "LearningRate.schedulers"


def shortened(cfg: Config, epochs: int) -> tuple[str, ...]:
    """Overrides that make the schedule of ``cfg``, a detector's file, one of ``epochs``; ``epoch`` itself aside.

    Whole numbers stay whole and at least 1.
    """
    part = epochs / int(cfg["epoch"])
    return tuple(
        f"{key}={_scaled(value, part)}" for key, value in _leaves(cfg, "") if _counts(key) and value is not None
    )


def shortened_slim(slim: Config, part: float) -> Config:
    """``slim`` with what its losses count in epochs times ``part``."""
    if part == 1:
        return slim
    losses = _times(slim["losses"], part)
    return slim.with_item("losses", losses, slim.mark("losses"))


def _times(block: Config, part: float) -> Config:
    for key, value in block.items():
        if isinstance(value, Config):
            block = block.with_item(key, _times(value, part), block.mark(key))
        elif key in IN_EPOCHS and value is not None:
            block = block.with_item(key, freeze(_scaled(value, part)), block.mark(key))
    return block


def _counts(key: str) -> bool:
    name = key.rpartition(".")[2]
    return name in IN_EPOCHS or (name == IN_STEPS and key.startswith(SCHEDULERS))


def _scaled(value: Any, part: float) -> Any:
    if isinstance(value, tuple | list):
        return [_scaled(item, part) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return max(round(value * part), min(value, 1)) if isinstance(value, int) else value * part


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted key, items of lists of mappings by their index; other lists are settings."""
    inside: Iterator[tuple[str, Any]] | None = None
    if isinstance(value, Mapping):
        inside = iter(value.items())
    elif isinstance(value, tuple) and any(isinstance(item, Mapping) for item in value):
        inside = ((str(index), item) for index, item in enumerate(value))
    if inside is None:
        yield key, value
        return
    for name, item in inside:
        yield from _leaves(item, f"{key}.{name}" if key else name)
