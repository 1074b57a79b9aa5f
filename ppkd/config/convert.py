"""Checking a setting against a type annotation, by pydantic."""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from functools import cache
from typing import Any

from ppkd.config.signature import UNCHECKED
from ppkd.config.value import LocatedError, Mark, thaw


def convert(value: Any, annotation: Any, name: str, where: Mark | str) -> Any:
    """``value`` as ``annotation`` wants it: lists become tuples and integers floats, nothing else is coerced.

    Yaml's values are json's, so pydantic's strict json mode is exactly that rule. A dataclass takes a mapping of its
    fields and no other key. Raises :class:`ConfigError` at ``where``, naming the setting ``name``.
    """
    if annotation is UNCHECKED or annotation is Any:
        return value
    import pydantic

    try:
        text = json.dumps(thaw(value))
        return _adapter(annotation).validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        first, *others = error.errors(include_url=False)
        for each in (first, *others):
            if each["type"] == "unexpected_keyword_argument":
                raise LocatedError(where, f"{name}.{each['loc'][-1]} is not a setting of {name}") from None
            if each["type"] == "value_error":
                raise LocatedError(where, f"{name}: {each['ctx']['error']}") from None
        path = "".join(f"[{part}]" for part in first["loc"] if isinstance(part, int))
        found = json.dumps(first["input"], default=str)
        wanted = dict.fromkeys(each["msg"].removeprefix("Input should be ") for each in (first, *others))
        raise LocatedError(where, f"{name}{path} is {found}, expected {' or '.join(wanted)}") from None


@cache
def _adapter(annotation: Any) -> Any:
    import pydantic

    if isinstance(annotation, type) and is_dataclass(annotation):
        return pydantic.TypeAdapter(pydantic.with_config(pydantic.ConfigDict(extra="forbid"))(annotation))
    return pydantic.TypeAdapter(annotation, config=pydantic.ConfigDict(arbitrary_types_allowed=True, extra="forbid"))
