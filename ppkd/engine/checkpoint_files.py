"""The three files of a checkpoint: which sets are complete, and which one a user means.

``X.pdparams`` is the plain student, ``X.pdopt`` the optimizer, ``X.pdstates`` everything else needed to go on, with the
SHA-256 of the other two, so a set cut short is never taken for whole. All three are written under hidden names and then
renamed. While they take the place of an older set, that one stands beside them as ``X.previous``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ppkd.utils.atomic import sync_folder
from ppkd.utils.errors import WeightsError
from ppkd.utils.logger import get_logger
from ppkd.utils.serialization import digest, read_pickle, write_state, write_weights

WEIGHTS, OPTIMIZER, STATES = SUFFIXES = (".pdparams", ".pdopt", ".pdstates")
DIGESTS = "sha256"
PARTIAL = ".partial"
PREVIOUS = ".previous"

logger = get_logger(__name__)


def file_of(stem: Path, suffix: str) -> Path:
    """``stem`` with ``suffix`` appended; dots inside the name stay."""
    return stem.with_name(stem.name + suffix)


def write_set(stem: Path, weights: Mapping[str, Any], optimizer: Mapping[str, Any], states: Mapping[str, Any]) -> None:
    """Write all three files; raises :class:`WeightsError`, the older set untouched, when the disk has no room."""
    hidden = stem.with_name(f".{stem.name}{PARTIAL}")
    try:
        write_weights(file_of(hidden, WEIGHTS), weights)
        write_state(file_of(hidden, OPTIMIZER), optimizer)
        write_states(hidden, states)
        _replace(stem, hidden)
    except (OSError, WeightsError) as error:
        raise WeightsError(
            f"the checkpoint {stem} was not written: {_reason(error)}; those written before are as they were. "
            f"Afterwards continue from the newest of them with -r {stem.parent}"
        ) from error
    finally:
        with suppress(OSError):
            _remove(hidden)


def _reason(error: Exception) -> object:
    cause = error if isinstance(error, OSError) else error.__cause__
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else error


def _replace(stem: Path, hidden: Path) -> None:
    """Rename the set ``hidden``; a complete older one keeps a second name until that is done."""
    aside = stem.with_name(f"{stem.name}{PREVIOUS}")
    if fault(stem) is None:
        _remove(aside)
        for suffix in SUFFIXES:
            _second_name(file_of(stem, suffix), file_of(aside, suffix))
    for suffix in SUFFIXES:
        file_of(hidden, suffix).replace(file_of(stem, suffix))
    sync_folder(stem.parent)
    _remove(aside)


def _second_name(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:  # a file system without hard links
        shutil.copy2(file, name)


def _remove(stem: Path) -> None:
    for suffix in SUFFIXES:
        file_of(stem, suffix).unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left in ``folder``; nobody else may be writing there."""
    for pattern in (f".*{PARTIAL}.*", ".*.tmp"):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)
    for name in {file.with_suffix("").name for file in folder.glob(f"*{PREVIOUS}.*")}:
        if fault(folder / name.removesuffix(PREVIOUS)) is None:
            _remove(folder / name)


def write_states(stem: Path, states: Mapping[str, Any]) -> None:
    """Write ``.pdstates`` alone for the two files that stand beside it."""
    digests = {suffix: digest(file_of(stem, suffix)) for suffix in (WEIGHTS, OPTIMIZER)}
    write_state(file_of(stem, STATES), {**states, DIGESTS: digests})


def fault(stem: Path) -> str | None:
    """Why the set at ``stem`` cannot be resumed from, or ``None`` when it is complete."""
    for suffix in SUFFIXES:
        if not file_of(stem, suffix).is_file():
            return f"{stem.name}{suffix} is missing"
    try:
        digests = read_pickle(file_of(stem, STATES)).get(DIGESTS)
    except WeightsError as error:
        return str(error)
    if not isinstance(digests, dict):
        return f"{stem.name}{STATES} is not ppkd's"
    for suffix, expected in digests.items():
        if digest(file_of(stem, suffix)) != expected:
            return f"{stem.name}{suffix} is not the one {stem.name}{STATES} was written for (a save was cut short)"
    return None


def newest_complete(folder: Path) -> Path | None:
    """The stem of the complete set written last in ``folder``; the log names incomplete ones that are newer."""
    files = [file for suffix in SUFFIXES for file in folder.glob(f"*{suffix}") if not file.name.startswith(".")]
    for stem in dict.fromkeys(file.with_suffix("") for file in sorted(files, key=_written, reverse=True)):
        found = fault(stem)
        if found is None:
            return stem
        logger.warning("%s: passed over, %s", stem, found)
    return None


def resolve(path: str | os.PathLike[str]) -> Path:
    """The stem of the checkpoint ``path`` means: a stem, one of its files, or a run's folder (its newest one).

    Raises :class:`WeightsError` when it does not exist or is incomplete, naming a complete one beside it.
    """
    given = Path(path).expanduser()
    if given.is_dir():
        newest = newest_complete(given)
        if newest is None:
            raise WeightsError(f"{given}: there is no complete checkpoint in this folder to resume from")
        return newest
    stem = given.with_suffix("") if given.suffix in SUFFIXES else given
    found = fault(stem)
    if found is None:
        return stem
    beside = newest_complete(stem.parent) if stem.parent.is_dir() else None
    hint = f"; complete there: {beside}" if beside else ""
    raise WeightsError(f"{stem}: cannot be resumed from, {found}{hint}")


def _written(file: Path) -> int:
    return file.stat().st_mtime_ns
