"""Progress bars on a terminal; elsewhere nothing, or plain lines at intervals."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


class Bar(Protocol):
    """What :func:`progress` yields."""

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Count ``amount`` more as done; ``note`` is a short text shown beside the bar."""


class _Silent:
    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Nothing is shown."""


class _Lines:
    """One log line every ``interval`` seconds."""

    def __init__(self, description: str, total: int | None, interval: float) -> None:
        self._description = description
        self._total = total
        self._interval = interval
        self._done = 0
        self._next = time.monotonic() + interval

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        self._done += amount
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            share = f"/{self._total} ({100 * self._done / self._total:.0f}%)" if self._total else ""
            logger.info("%s: %d%s%s", self._description, self._done, share, f" {note}" if note else "")


def on_terminal() -> bool:
    """Whether standard output is a terminal that can redraw a line."""
    return sys.stdout.isatty()


def terminal_width() -> int:
    """How many characters a line of the terminal has."""
    return shutil.get_terminal_size().columns


@contextmanager
def progress(description: str, total: int | None = None, *, interval: float | None = None) -> Iterator[Bar]:
    """A bar on a terminal. Elsewhere a log line every ``interval`` seconds, or silence when that is ``None``.

    ``total`` is the expected sum of all :meth:`Bar.advance`, ``None`` if unknown.
    """
    if not on_terminal():
        yield _Silent() if interval is None else _Lines(description, total, interval)
        return
    with _rich_bar(description, total) as bar:
        yield bar


@contextmanager
def _rich_bar(description: str, total: int | None) -> Iterator[Bar]:
    from rich import progress as rich

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[note]}"),
    )
    with rich.Progress(*columns, transient=True) as display:
        task = display.add_task(description, total=total, note="")

        class _Rich:
            def advance(self, amount: int = 1, note: str | None = None) -> None:
                display.advance(task, amount)
                if note is not None:
                    display.update(task, note=note)

        yield _Rich()
