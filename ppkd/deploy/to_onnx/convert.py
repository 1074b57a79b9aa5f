"""Conversion of an exported Paddle program by paddle2onnx."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from ppkd.utils.errors import ConfigError, WeightsError

PACKAGES = ("paddle2onnx", "onnx", "onnxruntime")
INSTALL = "pip install 'ppkd[onnx]'"
OPSETS = range(13, 20)
"""13 is the first with axes as inputs and batched gathering, which the suppression needs; 19 the last tried."""

_CONVERT = """
import sys, paddle2onnx
program, parameters, target, opset = sys.argv[1:]
paddle2onnx.export(program, parameters, target, opset_version=int(opset), optimize_tool="None")
"""


def check_packages() -> None:
    """Raise :class:`ConfigError` naming what the export needs and is not installed."""
    missing = []
    for name in PACKAGES[1:]:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    # Importing paddle2onnx here would load its library into this process, which it may abort.
    if importlib.util.find_spec(PACKAGES[0]) is None:
        missing.append(PACKAGES[0])
    if missing:
        raise ConfigError(f"export to ONNX needs {' and '.join(missing)}, not installed here: {INSTALL}")


def check_quantiser() -> None:
    """Raise :class:`ConfigError` naming what quantisation needs in addition and is not installed."""
    check_packages()
    # onnxruntime.quantization imports it, and onnxruntime does not require it.
    if importlib.util.find_spec("ml_dtypes") is None:
        raise ConfigError(f"quantisation needs ml_dtypes, not installed here: {INSTALL}")


def check_opset(opset: int) -> None:
    """Raise :class:`ConfigError` for a version of ONNX's operators that is not written."""
    if opset not in OPSETS:
        raise ConfigError(f"--opset {opset}: expected {OPSETS.start} to {OPSETS.stop - 1}")


def convert(program: Path, target: Path, opset: int) -> None:
    """Write the ONNX form of ``program`` (with its .pdiparams beside it) to ``target``, in another process.

    paddle2onnx aborts the process on an operator that it does not know. Raises :class:`WeightsError` with its reason.
    """
    command = [sys.executable, "-W", "ignore", "-c", _CONVERT, program, program.with_suffix(".pdiparams"), target]
    done = subprocess.run([*map(str, command), str(opset)], capture_output=True, text=True, check=False)
    if done.returncode or not target.is_file():
        raise WeightsError(
            f"paddle2onnx cannot convert the model at opset {opset}: {_reason(done)}; no file was written"
        )


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """What paddle2onnx says went wrong, in one line."""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    for mark in ("[ERROR]", "Oops", "Error"):
        if found := [line for line in lines if mark in line]:
            return found[-1].rpartition("[Paddle2ONNX]")[2].strip().rstrip(".")
    return f"its process ended with {done.returncode}"
