"""VisualDL's writer, which few runs need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ppkd.utils.errors import ConfigError

INSTALL = "pip install visualdl==2.5.3"


def open_writer(folder: Path) -> Any:
    """A writer of scalars and images below ``folder``; raises :class:`ConfigError` without the package."""
    try:
        from visualdl import LogWriter
    except ImportError as error:
        raise ConfigError(
            f"use_vdl needs the package visualdl, which cannot be imported ({error}): {INSTALL}"
        ) from error
    return LogWriter(str(folder))
