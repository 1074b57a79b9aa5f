"""Files, their ``_BASE_`` files and ``-o`` overrides to one :class:`Config`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ppkd.config.dialect import translated
from ppkd.config.find import find_config
from ppkd.config.parse import parse
from ppkd.config.plugins import offer
from ppkd.config.value import OVERRIDE, Config, LocatedError, Mark
from ppkd.utils.files import read_text

BASE = "_BASE_"
SLIM_PREFIX = "slim."
SHELL_PIPE = "/dev/fd/"


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """The value of a yaml file: its ``_BASE_`` files below it, ``overrides`` (``a.b=v``, v is yaml) on top.

    ``path`` and ``_BASE_`` may also be names of shipped files, see :func:`ppkd.config.find.find_config`.
    PaddleDetection's architectures get ppkd's names, see :func:`ppkd.config.dialect.translated`.
    Mappings merge deeply, lists and ``!Name`` mappings are replaced. Loading changes nothing but the returned value.
    Raises :class:`ConfigError` with file and line for a missing file, a cycle of ``_BASE_`` or malformed yaml.
    """
    return overridden(_load(find_config(path), chain=(), asker=Mark("")), overrides)


def overridden(config: Config, overrides: Sequence[str]) -> Config:
    """``config`` with ``overrides`` (``a.b=v``, v is yaml) on top; raises :class:`ConfigError` for a malformed one."""
    for text in overrides:
        config = _override(config, text)
    offer(config)
    return translated(config)


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The overrides of the detector's file, and those of the slim file (``slim.a.b=v``) without their prefix."""
    slim = [text.removeprefix(SLIM_PREFIX) for text in overrides if text.startswith(SLIM_PREFIX)]
    return [text for text in overrides if not text.startswith(SLIM_PREFIX)], slim


def _load(path: str, chain: tuple[str, ...], asker: Mark) -> Config:
    real = os.path.realpath(path)
    if real in chain:
        raise LocatedError(asker, f"{BASE} leads back to {path}, which is being loaded; remove one of the two {BASE}")
    own = parse(_text(path, asker), path)
    if own is None:
        own = Config({}, {}, Mark(path, 1))
    if not isinstance(own, Config):
        raise LocatedError(Mark(path, 1), f"a configuration must be a mapping (key: value), not {own!r}")
    below = Config({}, {}, own.origin)
    for base, mark in _bases(own, path):
        below = below.merge(_load(base, (*chain, real), mark))
    return replace(below.merge(own.without(BASE)), path=path)


def _bases(own: Config, path: str) -> list[tuple[str, Mark]]:
    """Paths of the ``_BASE_`` files, which are named relative to the file, and where they are named."""
    named = own.get(BASE) or ()
    named = (named,) if isinstance(named, str) else named
    mark = own.mark(BASE)
    if not isinstance(named, tuple) or not all(isinstance(base, str) for base in named):
        raise LocatedError(mark, f"{BASE} must be a file name or a list of file names, not {named!r}")
    folder = Path(path).parent
    return [(find_config(base, folders=(folder,), asker=mark, noun=f"the {BASE} file"), mark) for base in named]


def _text(path: str, asker: Mark) -> str:
    named = f"the {BASE} file {path}" if asker.line else f"the configuration {path}"
    try:
        # The shell has opened the pipe of `-c <(...)` already; a named pipe could keep whoever opens it for ever.
        return Path(path).read_text(encoding="utf-8") if path.startswith(SHELL_PIPE) else read_text(path)
    except UnicodeDecodeError as error:
        raise LocatedError(asker, f"{named} is not a text file in UTF-8 ({error.reason})") from None
    except OSError as error:
        raise LocatedError(asker, f"{named} cannot be read: {error.strerror or error}") from None


def _override(config: Config, text: str) -> Config:
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise LocatedError(OVERRIDE, f"'{text}' is not of the form key=value or a.b=value")
    frozen = parse(value, OVERRIDE.file, 0)
    changed = _assign(config, parts, frozen, text)
    if not isinstance(changed, Config):
        raise LocatedError(OVERRIDE, f"'{text}' names no key of the configuration")
    return changed


def _assign(found: Any, parts: list[str], value: Any, text: str) -> Any:
    """``found`` with ``value`` at the path ``parts``; mappings merge, anything else and list items are replaced."""
    if not parts:
        merges = isinstance(found, Config) and isinstance(value, Config) and not value.tagged
        return found.merge(value) if merges else value
    head, *rest = parts
    if isinstance(found, tuple):
        if not head.isdigit() or int(head) >= len(found):
            raise LocatedError(OVERRIDE, f"{text}: '{head}' is no item of a list of {len(found)}; count from 0")
        index = int(head)
        item = _assign(found[index], rest, value, text) if rest else value
        return (*found[:index], item, *found[index + 1 :])
    inside = Config({}, {}, OVERRIDE) if found is None else found
    if not isinstance(inside, Config):
        raise LocatedError(OVERRIDE, f"{text}: '{head}' cannot be set inside the value {found!r}")
    below = _assign(inside.get(head), rest, value, text)
    return inside.with_item(head, below, inside.mark(head) if rest and head in inside else OVERRIDE)
