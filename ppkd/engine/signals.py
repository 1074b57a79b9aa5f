"""Ctrl-C and SIGTERM: the current step ends, a checkpoint is written, the process ends with 128 + signal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ppkd.utils import processes

Handler = Callable[[int, FrameType | None], object] | int | None

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Training stopped because of a signal, after a checkpoint was written."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class SignalWatch:
    """Remembers the first SIGINT or SIGTERM; a second one stops at once.

    Not so in several processes, whose launcher repeats its signal until they have ended: it can be told to kill them.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._owner = os.getpid()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch inside the block, from the main thread; other threads cannot receive signals and watch nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.signal(number, self._receive) for number in WATCHED}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, self._afterwards(handler))

    def _afterwards(self, former: Handler) -> Handler:
        """A stopped process of several ends by itself: the launcher's next signal must not change its exit code."""
        if self.received is not None and processes.count() > 1:
            return signal.SIG_IGN
        return signal.SIG_DFL if former is None else former

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            self._in_worker(number)
        elif self.received is None:
            self.received = number
            again = b"; once more stops at once and saves nothing" if processes.count() == 1 else b""
            os.write(2, b"\nStopping after this step or evaluation" + again + b".\n")
        elif processes.count() == 1:
            raise Interrupted(number)

    @staticmethod
    def _in_worker(number: int) -> None:
        """A forked reader process leaves Ctrl-C to its parent, which still needs the data of the current step."""
        if number == signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
