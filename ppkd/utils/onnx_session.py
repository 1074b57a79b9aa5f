"""An ONNX graph under onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppkd.utils.errors import WeightsError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_ERRORS_ONLY = 3


def open_session(model: str | bytes, source: str, *, providers: Sequence[Any], threads: int) -> Any:
    """The graph ``model``, a file or its bytes, as onnxruntime's session on ``threads`` threads, 0 for all cores.

    Raises :class:`WeightsError` naming ``source`` for a graph that onnxruntime cannot load.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(model, options, providers=list(providers))
    except Exception as error:  # onnxruntime has a class for each of its codes, below RuntimeError or not
        raise WeightsError(f"{source}: onnxruntime cannot load it: {reason(error)}") from error


def reason(error: Exception) -> str:
    """The longest line of an engine's message: the others are codes and places in its source."""
    return max((line.strip() for line in str(error).splitlines()), key=len, default=type(error).__name__)[:300]
