"""What a command is, and how it ends: errors of a user without traceback, interrupts with the signal's code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppkd.utils import runtime
from ppkd.utils.errors import ConfigError, PPKDError
from ppkd.utils.logger import get_logger, setup_logger

INTERRUPTED = 130


@dataclass(frozen=True)
class Command:
    """A command: its flags and what it does with them.

    Attributes:
        parser: makes the command line.
        main: does the work; returns nothing, or the exit code.
        computes: whether process settings are made and logged, and Paddle is imported, before ``main``.
    """

    parser: Callable[[], argparse.ArgumentParser]
    main: Callable[[argparse.Namespace], int | None]
    computes: bool = False

    def __call__(self, argv: Sequence[str] | None = None, *, prog: str | None = None) -> int:
        """Parse ``argv``, run, and return the exit code.

        A :class:`PPKDError`, a file or folder that the system refuses, a package that is missing, and too little
        memory are printed as ``error: ...`` on standard error and give 1; an interrupt gives 128 + signal.
        """
        parser = self.parser()
        parser.prog = prog or parser.prog
        args = parser.parse_args(argv)
        try:
            _check_folder()
            if self.computes:
                setup_logger()
                get_logger("ppkd").info(runtime.prepare())
                runtime.import_paddle()
            return self.main(args) or 0
        except (PPKDError, OSError) as error:
            return _fail(str(error))
        except ImportError as error:
            if not error.name or error.name.partition(".")[0] == "ppkd":
                raise
            return _fail(f"{error}; `ppkd doctor` (python -m ppkd doctor) says what is missing and how to install it")
        except MemoryError as error:
            return _fail(f"there is not enough memory{f': {error}' if str(error) else ''}")
        except KeyboardInterrupt as interrupt:
            return getattr(interrupt, "exit_code", INTERRUPTED)


def _check_folder() -> None:
    """Raise :class:`ConfigError` where relative paths mean nothing."""
    try:
        Path.cwd()
    except OSError as error:
        raise ConfigError("the current folder does not exist any more; change to one that does") from error


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1
