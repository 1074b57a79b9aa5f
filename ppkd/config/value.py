"""The immutable value a configuration file becomes, with the file and line of every key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ppkd.utils.errors import ConfigError, nearest

_REQUIRED = object()


class LocatedError(ConfigError):
    """A :class:`ConfigError` whose text begins with the place in the file."""

    def __init__(self, where: object, text: str) -> None:
        super().__init__(f"{where}: {text}" if str(where) else text)


class MissingKeyError(LocatedError, KeyError):
    """A key that is needed is in neither the file nor its ``_BASE_`` files."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Mark:
    """The place of a key: ``line`` counts from 1, 0 for what no file holds; ``anchor``: it has a yaml ``&anchor``."""

    file: str
    line: int = 0
    anchor: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


CODE = Mark("settings given in Python")
OVERRIDE = Mark("-o")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Config(Mapping[str, Any]):
    """An immutable mapping; nested mappings are ``Config``, lists are tuples, leaves are scalars.

    ``values`` and ``marks`` have the same keys. ``tagged`` is true for a mapping written as ``!Name {...}``.
    ``path`` is the file that was loaded, the empty string for a nested mapping.
    """

    values_: dict[str, Any]
    marks_: dict[str, Mark]
    origin: Mark = CODE
    path: str = ""
    tagged: bool = False

    def __getitem__(self, key: str) -> Any:
        try:
            return self.values_[key]
        except KeyError:
            raise MissingKeyError(self.origin, f"no key '{key}'{nearest(str(key), self)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    def __contains__(self, key: object) -> bool:
        return key in self.values_

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a top-level ``key``, else ``default``."""
        return self.values_.get(key, default)

    def __repr__(self) -> str:
        return f"Config({self.to_dict()!r}, from {self.origin})"

    @property
    def name(self) -> str:
        """The key ``filename`` if it is set, else the file's base name without its extension."""
        return str(self.get("filename") or Path(self.path).stem)

    def at(self, key: str, default: Any = _REQUIRED) -> Any:
        """The value at a dotted key (``TrainReader.batch_size``; list items by index), else ``default``.

        Raises :class:`MissingKeyError` when the key is absent and no default is given.
        """
        found: Any = self
        for part in key.split("."):
            found = _child(found, part)
            if found is _REQUIRED:
                if default is _REQUIRED:
                    raise MissingKeyError(self.origin, f"needs the key '{key}' (in the file or with -o)")
                return default
        return found

    def where(self, key: str = "") -> str:
        """``file:line`` of a dotted key, of the deepest part of it that exists, or of the mapping itself; ``-o``."""
        return str(self.mark(key))

    def mark(self, key: str = "") -> Mark:
        """The :class:`Mark` that :meth:`where` prints."""
        found: Any = self
        mark = self.origin
        for part in key.split(".") if key else ():
            child = _child(found, part)
            if child is _REQUIRED:
                break
            if isinstance(found, Config):
                mark = found.marks_[part]
            elif isinstance(child, Config):
                mark = child.origin
            found = child
        return mark

    def to_dict(self) -> dict[str, Any]:
        """A plain dict of plain dicts, lists and scalars, independent of this value."""
        return {key: thaw(value) for key, value in self.items()}

    def without(self, *keys: str) -> Config:
        """The same mapping without ``keys``."""
        kept = [key for key in self if key not in keys]
        return replace(
            self, values_={key: self.values_[key] for key in kept}, marks_={key: self.marks_[key] for key in kept}
        )

    def with_item(self, key: str, value: Any, mark: Mark) -> Config:
        """The same mapping with ``key`` set to a frozen ``value``."""
        return replace(self, values_={**self.values_, key: value}, marks_={**self.marks_, key: mark})

    def overridden(self) -> Config:
        """The part of the mapping that ``-o`` has set."""
        values: dict[str, Any] = {}
        for key, value in self.items():
            inner = value.overridden() if isinstance(value, Config) and not value.tagged else None
            if inner or self.marks_[key] == OVERRIDE:
                values[key] = inner or value
        return Config(values, dict.fromkeys(values, OVERRIDE), OVERRIDE)

    def merge(self, over: Config) -> Config:
        """A new mapping with ``over`` on top: mappings merge deeply, anything else (lists, ``!Name``) is replaced."""
        values, marks = dict(self.values_), dict(self.marks_)
        for key, value in over.items():
            below = values.get(key)
            if isinstance(below, Config) and isinstance(value, Config) and not value.tagged:
                value = below.merge(value)
            values[key], marks[key] = value, over.marks_[key]
        return Config(values, marks, over.origin, over.path or self.path, self.tagged)


def _child(found: Any, part: str) -> Any:
    if isinstance(found, Config):
        return found.values_.get(part, _REQUIRED)
    if isinstance(found, tuple) and part.isdigit() and int(part) < len(found):
        return found[int(part)]
    return _REQUIRED


def freeze(value: Any, mark: Mark = CODE) -> Any:
    """``value`` with mappings as :class:`Config` and lists as tuples; a ``Config`` inside keeps its marks."""
    if isinstance(value, Config):
        return value
    if isinstance(value, Mapping):
        items = {str(key): freeze(item, mark) for key, item in value.items()}
        return Config(items, dict.fromkeys(items, mark), mark)
    if isinstance(value, list | tuple):
        return tuple(freeze(item, mark) for item in value)
    return value


def thaw(value: Any) -> Any:
    """The inverse of :func:`freeze`: plain dicts and lists."""
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, list | tuple):
        return [thaw(item) for item in value]
    return value
