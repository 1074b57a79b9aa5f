"""What this installation of ppkd has of the packages that it needs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PINS = ("requirements-paddle.txt", "requirements-common.txt")
MODULES = {"opencv-python-headless": "cv2", "PyYAML": "yaml", "Jinja2": "jinja2"}
"""Modules that are not called as their package is."""
PADDLES = ("paddlepaddle", "paddlepaddle-gpu")
_PROBE = """
import contextlib, io, json
with contextlib.redirect_stderr(io.StringIO()):
    import paddle
cuda = paddle.is_compiled_with_cuda()
count = paddle.device.cuda.device_count() if cuda else 0
names = [paddle.device.cuda.get_device_name(i) for i in range(count)]
print(json.dumps({"version": paddle.__version__, "cuda": cuda, "gpus": names}))
"""


@dataclass(frozen=True)
class Finding:
    """A line of the report: what was looked for, what was found, a remark; ``wrong`` when ppkd needs it otherwise."""

    topic: str
    found: str
    note: str = ""
    wrong: bool = False


def requirements() -> dict[str, str]:
    """The version that ppkd is made for of every package it needs: the files of a clone say it, or the installation."""
    if (ROOT / PINS[0]).is_file():
        lines = [line for pins in PINS for line in (ROOT / pins).read_text(encoding="utf-8").splitlines()]
    else:
        lines = [line for line in metadata.requires("ppkd") or [] if ";" not in line]
    pairs = [line.partition("==") for line in lines if "==" in line]
    return {name.strip(): version.strip() for name, _, version in pairs}


def check_packages() -> list[Finding]:
    """A finding for every package that is needed, Paddle aside: is it there, can it be imported, is it the version."""
    return [_package(name, pin) for name, pin in requirements().items() if name not in PADDLES]


def _package(name: str, pin: str) -> Finding:
    try:
        importlib.import_module(MODULES.get(name, name.replace("-", "_")))
    except ModuleNotFoundError:
        return Finding(name, "missing", f"pip install {name}=={pin}", wrong=True)
    # A library of the system that is missing, or another package's version, can raise anything.
    except Exception as error:
        return Finding(name, version(name) or "damaged", f"cannot be imported: {_line(error)}", wrong=True)
    found = version(name)
    return Finding(name, found or "unknown version", "" if found == pin else f"ppkd is tested with {pin}")


def check_paddle() -> list[Finding]:
    """Which Paddle is installed, whether it can be imported, and the devices that it has."""
    pin = next(version for name, version in requirements().items() if name in PADDLES)
    installed = [name for name in PADDLES if version(name)]
    if len(installed) > 1:
        note = f"both provide `paddle`: pip uninstall -y {' '.join(PADDLES)}, then install one of them"
        return [Finding("Paddle", " and ".join(f"{name} {version(name)}" for name in installed), note, wrong=True)]
    probe = probe_paddle()
    if isinstance(probe, str):
        note = f"cannot be imported: {probe}" if installed else f"pip install {PADDLES[0]}=={pin}; on a GPU see README"
        return [Finding("Paddle", version(installed[0]) if installed else "missing", note, wrong=True)]
    note = "" if probe["version"] == pin else f"ppkd is tested with {pin}"
    names = ", ".join(probe["gpus"])
    missing = "CUDA finds no GPU" if probe["cuda"] else "this Paddle is built for CPUs; the README has the one for GPUs"
    return [
        Finding(installed[0] if installed else "Paddle", probe["version"], note),
        Finding("devices", f"CPU, {names}" if names else "CPU", "" if names else missing),
    ]


def probe_paddle() -> dict[str, Any] | str:
    """What Paddle says of itself, or why it cannot: asked in another process, which a damaged one may kill."""
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    last = done.stderr.strip().splitlines()[-1:]
    return last[0] if last and done.returncode > 0 else f"the process ended with {done.returncode}"


def version(name: str) -> str:
    """The installed version of a package, or the empty string."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
