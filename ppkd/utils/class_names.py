"""The names of the classes that weights were trained on, which are saved with the weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ppkd.utils.errors import ConfigError, WeightsError
from ppkd.utils.files import parse_json, read_text
from ppkd.utils.logger import get_logger
from ppkd.utils.names import shown
from ppkd.utils.serialization import read_metadata, read_pickle

METADATA_KEY = "class_names"
STATES, LIST = ".pdstates", ".class_names.txt"
_SHOWN = 10

_log = get_logger(__name__)


def class_names(weights: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """The class names of the file ``weights`` (with or without extension), ``None`` where none are saved.

    They are in the metadata of a ``.safetensors`` file; beside ``X.pdparams`` they are in ``X.class_names.txt``, one
    per line, or in the ``X.pdstates`` that training writes.
    """
    given = Path(weights).expanduser()
    stem = given.with_suffix("") if given.suffix in (".pdparams", ".safetensors", ".pdopt", STATES) else given
    packed = stem.with_name(f"{stem.name}.safetensors")
    listed, states = (stem.with_name(stem.name + suffix) for suffix in (LIST, STATES))
    if given.suffix == ".safetensors" or (packed.is_file() and not stem.with_name(f"{stem.name}.pdparams").is_file()):
        return _of_metadata(packed)
    if listed.is_file():
        return _of_list(listed)
    return _of_states(states) if states.is_file() else None


def write_class_names(weights: Path, names: Sequence[str]) -> None:
    """Write the list of class names beside ``weights``, a ``.pdparams`` file.

    Raises :class:`WeightsError` for a name that a line of text cannot hold.
    """
    file = weights.with_name(weights.name.removesuffix(".pdparams") + LIST)
    for name in names:
        if name.strip() != name or name.splitlines() != [name] or not _is_text(name):
            raise WeightsError(
                f"{file}: the class name {shown(name)!r} cannot be a line of a list: it is empty, or has line breaks, "
                "spaces at its ends or no letters of UTF-8; rename the class, or write .safetensors"
            )
    file.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def refuse_other_names(
    trained: Sequence[str] | None, found: Sequence[str], *, where: str, label: str, source: str
) -> None:
    """Raise :class:`ConfigError` unless the classes ``found`` in ``label`` are those ``trained`` (``source`` says)."""
    if trained is None or tuple(trained) == tuple(found):
        return
    raise ConfigError(
        f"{where}: {label} has the classes {_listing(found)}, but {source} {_listing(trained)}. Give a data set of the "
        "same classes in the same order. If some are only called differently, rename them there, or in the weights by "
        "ppkd convert WEIGHTS NEW --label_list FILE"
    )


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def _of_list(file: Path) -> tuple[str, ...]:
    try:
        return tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{file}: not a UTF-8 list of the weights' class names ({error}); correct it, or remove it"
        ) from error


def _of_metadata(file: Path) -> tuple[str, ...] | None:
    text = read_metadata(file).get(METADATA_KEY)
    try:
        names = parse_json(text) if text else None
    except ValueError as error:
        raise WeightsError(f"{file}: the class names in its metadata are no json ({error})") from error
    return tuple(map(str, names)) if isinstance(names, list) and names else None


def _of_states(file: Path) -> tuple[str, ...] | None:
    try:
        names = read_pickle(file).get("class_names")
    except WeightsError as error:
        _log.warning("The class names cannot be read: %s", error)
        return None
    return tuple(map(str, names)) if isinstance(names, list | tuple) and names else None


def _listing(names: Sequence[str]) -> str:
    more = f", ... ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
