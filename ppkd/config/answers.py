"""What is answered where a configuration names something that ppkd does not have."""

from __future__ import annotations

from collections.abc import Collection
from types import NoneType, UnionType
from typing import Any, get_args

from ppkd.config.instead import instead
from ppkd.config.plugins import failures
from ppkd.config.registry import Component, lookup, names
from ppkd.config.signature import annotation_of
from ppkd.config.value import OVERRIDE, Config
from ppkd.utils.errors import nearest

OTHER_WORDS = {
    "lr": "LearningRate.base_lr",
    "learning_rate": "LearningRate.base_lr",
    "device": "use_gpu=false (the CPU) or use_gpu=true",
    "gpu": "use_gpu",
}
NOUNS = {"backbone": "backbones", "neck": "necks"}
_NEAR, _NEAR_SETTING = 0.8, 0.75
_MOST = 15
"""More components than this of one class: the class is any layer."""
_DETECTORS = "ppkd.models.detectors."


def no_detector(name: str) -> str:
    """The answer to an ``architecture`` that is no detector."""
    return f"{name} is not among our detectors: {', '.join(_in(_DETECTORS))}{instead(name)}{failures()}"


def no_part(owner: Component, key: str, name: str) -> str:
    """The answer to a component ``name``, which is not registered, under the parameter ``key`` of ``owner``."""
    role = "heads" if key.endswith("head") else NOUNS.get(key)
    noun = f"our {role}" if role else f"what {owner.name}.{key} takes"
    fitting = _fitting(owner, key)
    if not fitting:
        return f"there is no component '{name}'{instead(name) or nearest(name, names())}{failures()}"
    return f"{name} is not among {noun}: {', '.join(fitting)}{instead(name)}{failures()}"


def no_setting(component: Component, key: str) -> str:
    """The answer to a setting that ``component`` does not have."""
    hint = instead(f"{component.name}.{key}") or nearest(key, component.parameters, least=_NEAR_SETTING)
    return f"{component.name}.{key} is not a setting of {component.name}{hint}"


def no_key(cfg: Config, key: str, known: Collection[str]) -> str:
    """The answer to a top-level ``key`` that is none of ``known``; for ``-o`` also with the blocks that have it."""
    hint = instead(key)
    if not hint and cfg.mark(key) == OVERRIDE:
        hint = _meant(cfg, key)
    return f"{key} is not a key of a configuration{hint or nearest(key, known, least=_NEAR)}{failures()}"


def _meant(cfg: Config, key: str) -> str:
    """Where ``key`` stands in a block of ``cfg``, which a user of ``-o`` may have meant."""
    places = [f"{block}.{key}" for block, value in cfg.items() if isinstance(value, Config) and key in value]
    meant = OTHER_WORDS.get(key) or " or ".join(places)
    return f"; did you mean {meant}?" if meant else ""


def _in(package: str) -> list[str]:
    return [name for name in names() if lookup(name, "").cls.__module__.startswith(package)]


def _fitting(owner: Component, key: str) -> list[str]:
    """The components that ``owner`` takes as ``key``: those of the annotated class, else of the role's package."""
    kinds = tuple(kind for kind in kinds_of(annotation_of(owner.cls, key)) if isinstance(kind, type))
    found = [name for name in names() if kinds and issubclass(lookup(name, "").cls, kinds)]
    return found if 0 < len(found) <= _MOST else _in(f"ppkd.models.{NOUNS.get(key, key)}.")


def kinds_of(annotation: Any) -> tuple[Any, ...]:
    """The classes that a parameter with ``annotation`` takes, without None."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return tuple(kind for kind in kinds if kind is not NoneType)
