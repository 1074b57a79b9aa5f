"""The command line that started a training run, for messages that say how to repeat it or go on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ppkd.utils import processes

SCRIPT, PROGRAM, MODULE = "train.py", "ppkd", "__main__.py"


def training_command(argv: Sequence[str], added: Sequence[str], *, without: Sequence[str] = ()) -> str | None:
    """``argv`` as it can be typed again: ``without`` some flags and their values, with ``added`` ones at the end.

    In several processes it begins with Paddle's launcher. ``None`` when ``argv`` is no training command.
    """
    started = _started(argv)
    if started is None:
        return None
    return shlex.join([*started, *_kept(argv[1:], without), *added])


def _started(argv: Sequence[str]) -> list[str] | None:
    """What starts the program of ``argv[0]``."""
    python = Path(sys.executable).name
    script = Path(argv[0])
    subcommand = list(argv[1:2]) == ["train"]
    if script.name != SCRIPT and not (script.name in (PROGRAM, MODULE) and subcommand):
        return None
    if processes.count() > 1:
        launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes.on_this_machine())]
        return [python, *launch, argv[0]]
    if script.name == SCRIPT:
        return [python, argv[0]]
    return [PROGRAM] if script.name == PROGRAM else [python, "-m", PROGRAM]


def _kept(words: Sequence[str], without: Sequence[str]) -> list[str]:
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in without:
            next(rest, None)
        elif not any(word.startswith(f"{flag}=") for flag in without):
            kept.append(word)
    return kept
