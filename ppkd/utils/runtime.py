"""Process settings that must be in the environment before Paddle is imported."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import warnings
from pathlib import Path

from ppkd.utils.processes import on_this_machine

THREADS = "OMP_NUM_THREADS"
MKL_CPU = "MKL_DEBUG_CPU_TYPE"
PIXELS = "OPENCV_IO_MAX_IMAGE_PIXELS"
LARGEST_IMAGE = 1 << 27


def prepare() -> str:
    """Use all cores, or this process's share, and on AMD processors the fast path of Paddle's MKL; keep what is set.

    Paddle takes one core when ``OMP_NUM_THREADS`` is unset, and the MKL it bundles takes a path about 2.5 times
    slower on AMD processors unless ``MKL_DEBUG_CPU_TYPE`` is 5. Both change low-order bits of results.
    OpenCV refuses images above :data:`LARGEST_IMAGE` pixels, whose 400 MB a file of a few kB can ask for.

    Returns one line for the log with each value and where it comes from.
    """
    os.environ.setdefault(PIXELS, str(LARGEST_IMAGE))
    late = "paddle" in sys.modules
    wanted = {THREADS: str(max(len(os.sched_getaffinity(0)) // on_this_machine(), 1))}
    if is_amd():
        wanted[MKL_CPU] = "5"
    return "CPU: " + ", ".join(_settle(name, value, late) for name, value in wanted.items())


def import_paddle() -> None:
    """Import Paddle without its warnings about the settings above, on compilers and on BatchNorm."""
    for remark in ("No ccache found", "When training, we now always track global mean and variance"):
        warnings.filterwarnings("ignore", message=remark)
    with contextlib.redirect_stderr(io.StringIO()):
        importlib.import_module("paddle")


def is_amd(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine's processor is AMD's."""
    try:
        return "AuthenticAMD" in cpuinfo.read_text(encoding="utf-8")
    except OSError:
        return False


def current() -> dict[str, str]:
    """The present settings, to be recorded with a run: bit-equal repeats need equal ones."""
    return {name: os.environ.get(name, "") for name in (THREADS, MKL_CPU)}


def _settle(name: str, value: str, late: bool) -> str:
    if name in os.environ:
        return f"{name}={os.environ[name]} (from the environment)"
    if late:
        return f"{name} unset (Paddle was imported first)"
    os.environ[name] = value
    return f"{name}={value} (set by ppkd)"
