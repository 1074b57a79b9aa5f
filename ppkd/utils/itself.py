"""Command lines of ppkd itself: to run one in another process, and to tell the user how this one goes on."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
MODULE = ("-m", PACKAGE.name)


def command_line(*arguments: str) -> list[str]:
    """The command line of ``ppkd``, by this Python; give it the :func:`environment` below."""
    return [sys.executable, *MODULE, *arguments]


def shown(*arguments: str) -> str:
    """The same for a user to copy: it works in a clone and in every folder where ppkd is installed."""
    return shlex.join(["python", *MODULE, *arguments])


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment and ``more``; in it Python finds this very ppkd, from any folder."""
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(more or {})}


def training(argv: Sequence[str], launch: Sequence[str] = ()) -> tuple[list[str], list[str]] | None:
    """How a training with ``argv`` was started, and its flags; ``None`` when no command of ppkd started it.

    ``launch`` are arguments for Python that run a script in several processes. An installed ``ppkd`` is such a script.
    """
    python = [Path(sys.executable).name, *launch]
    script, *rest = argv
    if Path(script).name == "train.py":
        return [*python, script], rest
    if rest[:1] != ["train"]:
        return None
    if launch:
        return [*python, script, "train"], rest[1:]
    if Path(script) == PACKAGE / "__main__.py":
        return [*python, *MODULE, "train"], rest[1:]
    return [script, "train"], rest[1:]
