"""Runs the real tools/train.py again and again in processes that have Paddle already, and kills them when told.

Reads lines of json, ``[arguments, seconds]``: the child is killed so many seconds after its first step, or not if they
are null. Writes a line for each, ``[exit code, seconds from its first step]``; the code of a killed child is -9.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "train.py"
FIRST = b"Epoch: ["


def child(arguments: list[str], output: Path) -> None:
    stream = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (0, 1, 2):
        os.dup2(stream, number)
    sys.argv = [str(TOOL), *arguments]
    try:
        runpy.run_path(str(TOOL), run_name="__main__")
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    os._exit(99)


def main(output: Path) -> None:
    import ppkd.experiment.training  # noqa: F401

    output.touch()
    for line in sys.stdin:
        arguments, seconds = json.loads(line)
        seen = output.stat().st_size
        pid = os.fork()
        if pid == 0:
            child(arguments, output)
        ended, first = (0, 0), None
        while ended == (0, 0):
            time.sleep(0.002)
            ended = os.waitpid(pid, os.WNOHANG)
            if first is None and FIRST in output.read_bytes()[seen:]:
                first = time.monotonic()
            if ended == (0, 0) and seconds is not None and first and time.monotonic() - first >= seconds:
                os.kill(pid, signal.SIGKILL)
                ended = os.waitpid(pid, 0)
        took = time.monotonic() - first if first else 0.0
        print(json.dumps([os.waitstatus_to_exitcode(ended[1]), took]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
