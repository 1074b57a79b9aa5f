"""Reading a study's file into a dataclass."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

from ppkd.config import Config, check, load_config, split_overrides
from ppkd.config.convert import convert
from ppkd.distill.build import check_slim
from ppkd.study.runs import Run
from ppkd.utils.errors import ConfigError, nearest

_Settings = TypeVar("_Settings")


def read(cfg: Config, cls: type[_Settings]) -> _Settings:
    """The settings ``cls``, a dataclass, from the keys of ``cfg``.

    Raises :class:`ConfigError` with file and line for an unknown or missing key or a value of the wrong type.
    """
    hints, names = get_type_hints(cls), [field.name for field in fields(cls)]  # type: ignore[arg-type]
    for key in cfg:
        if key not in names:
            raise ConfigError(f"{cfg.where(key)}: {key} is not a key here{nearest(key, names)}; known: {names}")
    values: dict[str, Any] = {}
    for field in fields(cls):  # type: ignore[arg-type]
        if field.name in cfg:
            values[field.name] = convert(cfg[field.name], hints[field.name], field.name, cfg.mark(field.name))
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{cfg.where()}: {field.name} is missing")
    return cls(**values)


def check_run(run: Run) -> None:
    """Check the files and options of ``run`` before any run starts; raises :class:`ConfigError`."""
    own, of_slim = split_overrides(run.options)
    check(load_config(run.config, own))
    if run.slim is not None:
        check_slim(load_config(run.slim, of_slim))
    elif of_slim:
        raise ConfigError(f"{run.name}: slim.{of_slim[0]} has no slim file that it could change")
