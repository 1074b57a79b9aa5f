"""The settings of a loss, read from its constructor and its docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args

from ppkd.config.registry import Component, lookup
from ppkd.config.signature import annotation_of
from ppkd.distill.level_wise import LevelWise
from ppkd.distill.loss import DistillLoss, Wiring

SECTIONS = ("Args", "Attributes", "Keys")
ROLE = re.compile(r":\w+:`[~.]*(?:[a-z_]+\.)*([\w.]+)`")
GIVEN = ("student", "teacher", *Wiring.__annotations__)
"""Parameters that are no settings, or those of every loss."""


@dataclass(frozen=True)
class Setting:
    """A key in the yaml of a loss: its default as yaml has it, ``-`` where the loss finds one, and its meaning."""

    name: str
    default: str
    meaning: str


def settings_of(loss: str) -> list[Setting]:
    """The settings of a registered loss, the weight last."""
    component = lookup(loss, "docs")
    meanings = _meanings(component.cls)
    found = [one for name in component.parameters if name not in GIVEN for one in _setting(component, name, meanings)]
    made: type[DistillLoss] = component.cls
    return [*found, Setting("weight", _yaml(made.default_weight), "factor on the loss in the total, or `{share: 0.5}`")]


def described(text: str) -> dict[str, str]:
    """What a docstring of Google's style says of each argument, attribute or key, in one line."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in inspect.cleandoc(text).splitlines():
        if heading := re.fullmatch(r"(\w+):", line):
            section = heading[1]
        elif section in SECTIONS and (entry := re.match(r" {4}(\w+): (.*)", line)):
            found[entry[1]] = [entry[2]]
        elif section in SECTIONS and found and line.startswith(" " * 8):
            found[list(found)[-1]].append(line.strip())
    return {name: _plain(" ".join(lines)) for name, lines in found.items()}


def _setting(component: Component, name: str, meanings: dict[str, str]) -> Iterator[Setting]:
    if block := _block(annotation_of(component.cls, name)):
        inner = _merged(*(one.__doc__ for one in reversed(block.__mro__) if is_dataclass(one)))
        for field in fields(block):
            yield Setting(f"{name}.{field.name}", _yaml(field.default), inner.get(field.name, ""))
    else:
        yield Setting(name, _yaml(component.parameters[name].default), meanings.get(name, ""))


def _meanings(loss: type) -> dict[str, str]:
    if not issubclass(loss, LevelWise):
        return _merged(loss.__doc__)
    recipe = loss.recipe
    found = _merged(LevelWise.__doc__, *(one.__doc__ for one in (recipe.cells,) if one), recipe.formula.__doc__)
    return {**found, **{name: found[own] for name, own in recipe.renamed.items()}}


def _merged(*texts: str | None) -> dict[str, str]:
    return {name: meaning for text in texts if text for name, meaning in described(text).items()}


def _block(annotation: Any) -> type | None:
    """The dataclass that a setting holds, if it does."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)), None)


def _plain(text: str) -> str:
    """Roles and double backticks of reStructuredText as Markdown."""
    return ROLE.sub(r"`\1`", text).replace("``", "`")


def _yaml(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
