"""Components: classes that a configuration names, found by importing the rooms that hold them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, overload

from ppkd.config import plugins
from ppkd.config.instead import instead
from ppkd.config.signature import parameters_of
from ppkd.config.value import LocatedError, Mark
from ppkd.utils.errors import nearest

ROOMS = ("ppkd.models", "ppkd.data", "ppkd.engine", "ppkd.distill", "ppkd.metrics")

_Class = TypeVar("_Class", bound=type)


@dataclass(frozen=True)
class Component:
    """A registered class: its constructor's parameters, those shared with the top level, those built for it."""

    name: str
    cls: type
    parameters: Mapping[str, inspect.Parameter]
    shared: tuple[str, ...] = ()
    inject: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    without_effect: tuple[str, ...] = ()


_COMPONENTS: dict[str, Component] = {}


@overload
def register(cls: _Class) -> _Class: ...
@overload
def register(
    *,
    shared: Iterable[str] = (),
    inject: Iterable[str] = (),
    aliases: Iterable[str] = (),
    without_effect: Iterable[str] = (),
) -> Callable[[_Class], _Class]: ...
def register(
    cls: Any = None,
    *,
    shared: Iterable[str] = (),
    inject: Iterable[str] = (),
    aliases: Iterable[str] = (),
    without_effect: Iterable[str] = (),
) -> Any:
    """Class decorator: the class can be named in a configuration and built by :func:`ppkd.config.build`.

    ``shared`` parameters come from the top level of the configuration where the component's own settings are silent
    (``num_classes``); ``inject`` parameters are components, built in this order and handed over. ``aliases`` are
    other names that a configuration may use. ``without_effect`` are settings of PaddleDetection's component that mean
    nothing here, parameters or not: a file may keep them, and :func:`ppkd.config.check` names them.
    """

    def add(cls: _Class) -> _Class:
        component = _component(cls, tuple(shared), tuple(inject), tuple(aliases), tuple(without_effect))
        for name in (component.name, *component.aliases):
            known = _COMPONENTS.get(name)
            if known is not None and known.cls.__module__ != cls.__module__:
                raise TypeError(f"{cls.__module__} and {known.cls.__module__} both register a component {name}")
            _COMPONENTS[name] = component
        return cls

    return add if cls is None else add(cls)


def _component(
    cls: type,
    shared: tuple[str, ...],
    inject: tuple[str, ...],
    aliases: tuple[str, ...],
    without_effect: tuple[str, ...],
) -> Component:
    parameters = parameters_of(cls)
    absent = [name for name in (*shared, *inject) if name not in parameters]
    if absent:
        raise TypeError(f"{cls.__name__} has no parameters {absent}, which it declares as shared or inject")
    return Component(cls.__name__, cls, parameters, shared, inject, aliases, without_effect)


def find(name: str) -> Component | None:
    """The component called ``name``, or None; the rooms, then plug-ins, are imported before the answer is None."""
    if name not in _COMPONENTS:
        _discover()
    if name not in _COMPONENTS:
        plugins.import_offered()
    return _COMPONENTS.get(name)


def lookup(name: str, where: Mark | str) -> Component:
    """The component called ``name``; raises :class:`ConfigError` at ``where`` with the nearest name there is."""
    component = find(name)
    if component is None:
        hint = (instead(name) or nearest(name, _COMPONENTS)) + plugins.failures()
        raise LocatedError(where, f"there is no component '{name}'{hint}")
    return component


def names() -> list[str]:
    """The names of all components, those of plug-ins too, sorted."""
    _discover()
    plugins.import_offered()
    return sorted(_COMPONENTS)


def shared_names() -> set[str]:
    """The top-level keys that some component takes its settings from."""
    _discover()
    return {key for component in _COMPONENTS.values() for key in component.shared}


@cache
def _discover() -> None:
    """Import every module of the rooms, so that a new file needs no list to be edited."""
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, prefix=f"{room}."):
            if module.name not in sys.modules:
                importlib.import_module(module.name)
