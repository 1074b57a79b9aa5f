"""The settings that a class takes: its constructor's parameters, with their types."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, Unpack, get_args, get_origin, get_type_hints

UNCHECKED = object()
"""The annotation of a parameter that has none, or one that cannot be resolved because imports are lazy."""


def parameters_of(cls: type) -> Mapping[str, inspect.Parameter]:
    """The parameters by name; those of ``**settings: Unpack[SomeTypedDict]`` are named one by one.

    Raises :class:`TypeError` for other ``*args`` and ``**kwargs``, which would swallow a typo.
    """
    parameters: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            parameters |= _unpacked(cls, parameter)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            raise TypeError(f"{cls.__name__} must name every parameter: *{name} would swallow a typo")
        else:
            parameters[name] = parameter
    return parameters


@cache
def annotation_of(cls: type, parameter: str) -> Any:
    """The resolved annotation of a constructor's parameter; :data:`UNCHECKED` if there is none to check against."""
    return _resolved(cls, parameters_of(cls)[parameter].annotation)


def _unpacked(cls: type, parameter: inspect.Parameter) -> dict[str, inspect.Parameter]:
    annotation = _resolved(cls, parameter.annotation)
    if get_origin(annotation) is not Unpack:
        raise TypeError(f"{cls.__name__} must name every parameter: **{parameter.name} would swallow a typo")
    (settings,) = get_args(annotation)
    return {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in get_type_hints(settings).items()
    }


def _resolved(cls: type, annotation: Any) -> Any:
    if annotation is inspect.Parameter.empty:
        return UNCHECKED
    if not isinstance(annotation, str):
        return annotation
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    try:
        return eval(annotation, {**vars(sys.modules[owner.__module__]), owner.__name__: owner})
    except NameError:
        return UNCHECKED
