"""Finding a configuration: a file of the user's or, by its name, one that ppkd brings in ``configs`` and ``slim``."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ppkd.config.value import LocatedError, Mark
from ppkd.utils.shipped import SUFFIX, home, shipped

PARTS = "_base_"
"""Folder of what several configurations have in common: found by name too, but never suggested."""
_SUGGESTED = 3


def find_config(
    name: str | os.PathLike[str],
    *,
    folders: Iterable[Path] = (Path(),),
    asker: Mark | None = None,
    noun: str = "the configuration",
) -> str:
    """The path of the configuration ``name``, with or without ``.yml``.

    A file that exists, seen from one of ``folders`` (the current one), wins. Otherwise ``name`` is that of a shipped
    file, as short as it is unique: ``gfl_r18vd_1x_coco``, ``configs/gfl/gfl_r18vd_1x_coco.yml``.

    Raises :class:`ConfigError` that begins with the place of ``asker`` for no such file, with the nearest names, and
    for a name of several, with their folders.
    """
    text = str(Path(name).expanduser())
    spellings = [text] if text.endswith(SUFFIX) else [text, text + SUFFIX]
    seen = [os.path.normpath(Path(folder, spelling)) for folder in folders for spelling in spellings]
    found = [path for path in seen if os.path.isfile(path)][:1]  # noqa: PTH113 a Path raises for names too long
    found = found or [str(path) for path in shipped() if _ends(path, spellings[-1])]
    # A folder, or a pipe of the shell: reading it says what is wrong, if anything is.
    found = found or [path for path in seen if os.path.exists(path)][:1]  # noqa: PTH110
    if len(found) == 1:
        return found[0]
    said = f"{noun} {os.fspath(name)}"
    if found:
        listed = ", ".join(str(Path(path).relative_to(home())) for path in found)
        raise LocatedError(asker or "", f"{said} could be any of {listed}: write a folder before the name")
    raise LocatedError(asker or "", f"{said} does not exist{_nearest(Path(text).stem)}")


def _ends(path: Path, ending: str) -> bool:
    parts = Path(ending).parts
    return path.relative_to(home()).parts[-len(parts) :] == parts


def _nearest(name: str) -> str:
    known = [path.stem for path in shipped() if PARTS not in path.parts]
    near: Sequence[str] = difflib.get_close_matches(name, known, n=_SUGGESTED, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""
