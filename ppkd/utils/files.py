"""Files that others made: opened only if they are regular, read up to a bound, found below a folder.

A named pipe, a device or a socket may answer never, or without end; each of these functions refuses one at once.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from ppkd.utils.errors import DataError
from ppkd.utils.logger import get_logger

PathLike = str | os.PathLike[str]

MOST_TEXT = 1 << 28
MOST_IMAGE = 1 << 30
MOST_JSON = 1 << 34
MOST_WEIGHTS = 1 << 36
MOST_ENTRIES = 20_000_000

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_log = get_logger(__name__)


def open_regular(path: PathLike) -> BufferedReader:
    """The regular file ``path``, or one that it links to, opened for reading.

    Raises :class:`OSError` for anything else, and for a name that no file can have, without waiting for it.
    """
    try:
        mode = Path(path).stat().st_mode
    except ValueError as error:  # a NUL, or a character that the file system cannot write
        raise OSError(errno.EINVAL, "no file can have this name") from error
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"it is {_kind(mode)}, not a regular file")
    return Path(path).open("rb")


def check_regular(path: PathLike) -> None:
    """Raise the :class:`OSError` of :func:`open_regular`; for a library that opens the file itself."""
    open_regular(path).close()


def read_bytes(path: PathLike, most: int) -> bytes:
    """The content of a regular file of at most ``most`` bytes.

    Raises :class:`OSError` as :func:`open_regular` does, and for a larger file before it is read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size} bytes, more than the {most} that are read")
        try:
            return file.read(size)
        except MemoryError as error:
            raise OSError(errno.ENOMEM, f"its {size} bytes are more than the memory holds") from error


def read_text(path: PathLike) -> str:
    """The text of a regular UTF-8 file without its byte-order mark.

    Raises :class:`OSError` as :func:`read_bytes` does, and :class:`UnicodeDecodeError` for another encoding.
    """
    return read_bytes(path, MOST_TEXT).decode("utf-8-sig")


def read_json(path: PathLike) -> Any:
    """The content of a regular json file.

    Raises :class:`OSError` as :func:`read_bytes` does, and :class:`ValueError` for anything but json.
    """
    return parse_json(read_bytes(path, MOST_JSON))


def parse_json(text: bytes | str) -> Any:
    """The value of a json text; raises :class:`ValueError` for anything else, and for one that nests too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def files_below(folder: PathLike, suffixes: Collection[str]) -> Iterator[Path]:
    """The regular files below ``folder`` whose lower-case names end in one of ``suffixes``, sorted folder by folder.

    A link to a file counts as that file. A link to a folder is not followed: it may lead anywhere, or round in a
    circle. Such links, and pipes, devices and sockets of such a name, are named in a warning.

    Raises:
        DataError: there are more than ``MOST_ENTRIES`` files and folders.
    """
    ends = tuple(suffixes)
    left, seen = [os.fspath(folder)], 0
    passed_over: list[str] = []
    while left:
        entries = _entries(left.pop())
        seen += len(entries)
        if seen > MOST_ENTRIES:
            raise DataError(f"{folder}: more than {MOST_ENTRIES} files and folders; name the folder of the images")
        folders: list[str] = []
        for entry in entries:
            if _leads_to(entry.is_dir):
                (passed_over if entry.is_symlink() else folders).append(entry.path)
            elif entry.name.lower().endswith(ends):
                if _leads_to(entry.is_file):
                    yield Path(entry.path)
                else:
                    passed_over.append(entry.path)
        left += reversed(folders)
    if passed_over:
        _log.warning("%s: passed over, no regular files or folders below it: %s", folder, _listing(passed_over))


def check_outputs(outputs: Iterable[PathLike], inputs: Iterable[PathLike]) -> None:
    """Raise :class:`DataError` for one of ``outputs`` that exists and is no regular file, or is one of ``inputs``.

    Files are compared by what their names lead to, also by links.
    """
    files = {_identity(status): path for path in inputs if (status := _status(path)) is not None}
    for output in outputs:
        status = _status(output)
        if status is None:
            continue
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{output}: it is {_kind(status.st_mode)}, where a result is to be written; remove it")
        if _identity(status) in files:
            raise DataError(
                f"{output}: the result would overwrite the input {files[_identity(status)]}; name another output folder"
            )


def _kind(mode: int) -> str:
    return next((name for matches, name in _KINDS if matches(mode)), "a special file")


def _status(path: PathLike) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except (OSError, ValueError):
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    """What all names of a file have in common."""
    return status.st_dev, status.st_ino


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        _log.warning("%s: passed over, it cannot be read: %s", folder, error.strerror)
        return []


def _leads_to(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link to itself
        return False


def _listing(paths: list[str], most: int = 5) -> str:
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")
