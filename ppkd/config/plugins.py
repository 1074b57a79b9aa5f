"""Components from outside the package: files that a configuration names, and entry points of installed packages.

They are imported when a name is looked up that nothing inside registers, so that one that is broken matters only to
whoever uses it. A file is Python code, which runs when it is imported: name only files that you trust.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from types import ModuleType

from ppkd.config.value import Config, LocatedError

KEY, GROUP = "plugins", "ppkd.plugins"
"""The top-level key, and the group of entry points."""

_offered: dict[str, Callable[[], object]] = {}
_failures: dict[str, str] = {}


def offer(cfg: Config) -> None:
    """Remember the files that ``plugins`` of ``cfg`` lists; nothing is imported.

    A path is seen from the current folder, else from that of the file that names it. Raises :class:`ConfigError` for
    anything but a list of paths.
    """
    named = cfg.get(KEY) or ()
    if not isinstance(named, tuple) or not all(isinstance(path, str) for path in named):
        raise LocatedError(cfg.mark(KEY), f"{KEY} must be a list of Python files, such as [my_loss.py]")
    folder = Path(cfg.mark(KEY).file).parent if named else Path()
    for path in named:
        seen = [Path(path).expanduser(), folder / path]
        file = next((each for each in seen if each.is_file()), seen[0]).resolve()
        _offered.setdefault(str(file), partial(_import_file, file))


def import_offered() -> bool:
    """Import whatever was offered and is not imported yet, entry points too; returns whether there was any."""
    for point in _entry_points():
        _offered.setdefault(f"{point.name} = {point.value}", point.load)
    waiting = {name: load for name, load in _offered.items() if load is not _done}
    for name, load in waiting.items():
        _offered[name] = _done
        try:
            load()
        # The code is a user's: it may raise anything, and only matters to a configuration that uses it.
        except Exception as error:
            _failures[name] = _reason(error, name)
    return bool(waiting)


def failures() -> str:
    """What to say of plug-ins that are broken where a name is unknown: empty, or begins with a semicolon."""
    return "".join(f"; the plug-in {name} cannot be imported: {reason}" for name, reason in _failures.items())


@cache
def _entry_points() -> tuple[metadata.EntryPoint, ...]:
    return tuple(metadata.entry_points(group=GROUP))


def _done() -> None:
    """Stands for a plug-in that was imported."""


def _import_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    name = f"ppkd_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _reason(error: Exception, name: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    where = f"line {lines[-1]}, " if lines else ""
    return f"{where}{type(error).__name__}: {' '.join(str(error).split())}"
