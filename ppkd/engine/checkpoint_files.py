"""The three files of a checkpoint: which sets are complete, and which one a user means.

``X.pdparams`` is the plain student, ``X.pdopt`` the optimizer, ``X.pdstates`` everything else needed to go on. Each is
written atomically, ``.pdstates`` last with the SHA-256 of the other two, so a set cut short is never taken for whole.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppkd.utils.errors import WeightsError
from ppkd.utils.serialization import digest, read_pickle, write_state, write_weights

WEIGHTS, OPTIMIZER, STATES = SUFFIXES = (".pdparams", ".pdopt", ".pdstates")
DIGESTS = "sha256"


def file_of(stem: Path, suffix: str) -> Path:
    """``stem`` with ``suffix`` appended; dots inside the name stay."""
    return stem.with_name(stem.name + suffix)


def write_set(stem: Path, weights: Mapping[str, Any], optimizer: Mapping[str, Any], states: Mapping[str, Any]) -> None:
    """Write all three files, the telling one last."""
    write_weights(file_of(stem, WEIGHTS), weights)
    write_state(file_of(stem, OPTIMIZER), optimizer)
    write_states(stem, states)


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
    """The stem of the complete set written last in ``folder``."""
    stems = [file.with_suffix("") for file in sorted(folder.glob(f"*{STATES}"), key=_written, reverse=True)]
    return next((stem for stem in stems if fault(stem) is None), None)


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


def class_names(weights: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """The class names stored beside a ``.pdparams`` (with or without extension), ``None`` when nothing stands there."""
    given = Path(weights)
    states = file_of(given.with_suffix("") if given.suffix in SUFFIXES else given, STATES)
    if not states.is_file():
        return None
    names = read_pickle(states).get("class_names")
    return tuple(names) if names else None


def _written(file: Path) -> int:
    return file.stat().st_mtime_ns
