"""Log lines on the console and in the run's folder, in PaddleDetection's form."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ppkd.utils.atomic import output_folder
from ppkd.utils.processes import is_first, rank

ROOT = "ppkd"
FILE_NAME = "train.log"
_FILE_ONLY, _SHOWN = "file_only", "shown"
SHOWN = {_SHOWN: True}
"""``extra`` of lines that a person at a terminal must see although the console is calm."""
# PaddleDetection's form, which benchmark parsers read.
_TEXT = "[%(asctime)s] %(name)s %(levelname)s: %(message)s"


class ConsoleHandler(logging.StreamHandler):
    """Writes to whatever ``sys.stdout`` is at that moment, so that a live progress bar can redraw below.

    While it is ``calm``, it shows warnings, errors, and lines that are logged with :data:`SHOWN`.
    """

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self.calm = False
        self.addFilter(self._shows)

    def _shows(self, record: logging.LogRecord) -> bool:
        wanted = not self.calm or record.levelno >= logging.WARNING or getattr(record, _SHOWN, False)
        return wanted and not getattr(record, _FILE_ONLY, False)

    @property
    def stream(self) -> object:
        """The present standard output."""
        return sys.stdout

    @stream.setter
    def stream(self, value: object) -> None:
        """Ignore the stream of the moment of construction."""


def get_logger(name: str) -> logging.Logger:
    """The logger of a module: give ``__name__``; lines carry the first two parts (``ppkd.engine``)."""
    return logging.getLogger(".".join(name.split(".")[:2]))


def record(level: int, message: str) -> None:
    """Write a line to the run's log file alone, for what the console shows in another way."""
    logging.getLogger(ROOT).log(level, message, extra={_FILE_ONLY: True})


@contextmanager
def calm_console() -> Iterator[None]:
    """Inside, ordinary lines go to the log's file alone."""
    consoles = [one for one in logging.getLogger(ROOT).handlers if isinstance(one, ConsoleHandler)]
    for console in consoles:
        console.calm = True
    try:
        yield
    finally:
        for console in consoles:
            console.calm = False


def setup_logger(save_dir: str | os.PathLike[str] | None = None) -> logging.Logger:
    """Send ppkd's lines to standard output, and to ``save_dir/train.log`` when it is given.

    A second call replaces the destinations of the first. The file is appended to. In a run with several processes
    those behind the first write warnings and errors alone, with their number.
    """
    root = logging.getLogger(ROOT)
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.INFO if is_first() else logging.WARNING)
    root.propagate = False
    handlers: list[logging.Handler] = [ConsoleHandler()]
    if save_dir is not None:
        output_folder(save_dir)
        handlers.append(logging.FileHandler(Path(save_dir) / FILE_NAME, encoding="utf-8", delay=not is_first()))
    text = _TEXT if is_first() else _TEXT.replace("%(message)s", f"(process {rank()}) %(message)s")
    for handler in handlers:
        handler.setFormatter(logging.Formatter(text, datefmt="%m/%d %H:%M:%S"))
        root.addHandler(handler)
    return root
