"""Command lines of ppkd itself: to run one in another process, and to tell the user how this one goes on."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ppkd.utils import processes

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


def training_command(
    argv: Sequence[str], added: Sequence[str], *, without: Sequence[str] = (), launched: bool = True
) -> str | None:
    """The command line of a training with ``argv``: ``without`` some flags and their values, ``added`` ones at the end.

    In several processes it begins with Paddle's launcher, unless it is not to be ``launched``. ``None`` when no command
    of ppkd started the training.
    """
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes.on_this_machine())]
    started = _started(argv, launch if launched and processes.count() > 1 else ())
    if started is None:
        return None
    command, words = started
    return shlex.join([*command, *_kept(words, without), *added])


def _started(argv: Sequence[str], launch: Sequence[str] = ()) -> tuple[list[str], list[str]] | None:
    """What started a training with ``argv``, and its flags; ``None`` when no command of ppkd did.

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


def _kept(words: Sequence[str], without: Sequence[str]) -> list[str]:
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in without:
            next(rest, None)
        elif not any(word.startswith(f"{flag}=") for flag in without):
            kept.append(word)
    return kept
