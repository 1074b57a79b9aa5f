"""Files that are either the old one or the new one, whatever happens while they are written."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ppkd.utils.errors import ConfigError, WeightsError


@contextmanager
def atomic_open(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of ``path`` when the block ends without an exception.

    The bytes go to a hidden file in the same folder (made if absent), are flushed to the disk, and only then renamed.
    On any exception the hidden file is removed and ``path`` is as it was.

    Raises:
        WeightsError: the folder cannot be written, or the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        state = "the previous file is untouched" if target.exists() else "nothing was written"
        raise WeightsError(f"cannot write {target}: {error.strerror or error}; {state}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def output_folder(path: str | os.PathLike[str]) -> Path:
    """The folder ``path``, made if absent, after a trial that files can be written into it.

    Called before the work whose results go there. Raises :class:`ConfigError` naming the folder and the reason.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(b"trial")
    except OSError as error:
        raise ConfigError(
            f"cannot write into the folder {folder}: {error.strerror or error}; name another one, or make room in it"
        ) from error
    return folder


def sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the file system offers that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
