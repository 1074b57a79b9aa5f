"""What computes an ONNX file: onnxruntime, OpenVINO, or TensorRT through onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ppkd.deploy.engine import Arrays, Device, Engine, RunMode
from ppkd.utils.errors import ConfigError, WeightsError
from ppkd.utils.onnx_session import CPU, CUDA, open_session, reason

INSTALL = {
    "onnxruntime": "pip install onnxruntime (onnxruntime-gpu for --device GPU)",
    "openvino": "pip install openvino",
    "tensorrt": "pip install onnxruntime-gpu tensorrt, on a machine with an NVIDIA GPU",
}
_TENSORRT = "TensorrtExecutionProvider"


class OnnxRuntimeEngine:
    """An ONNX file under onnxruntime; ``tensorrt`` computes what it can with TensorRT and the rest with CUDA."""

    def __init__(
        self, file: Path, *, device: Device, cpu_threads: int, tensorrt: bool = False, half: bool = False
    ) -> None:
        name = "tensorrt" if tensorrt else "onnxruntime"
        runtime = _imported("onnxruntime", name)
        providers: list[Any] = [CPU]
        if device == "GPU" or tensorrt:
            providers.insert(0, CUDA)
        if tensorrt:
            providers.insert(0, (_TENSORRT, {"trt_fp16_enable": half}))
        _check_providers(providers, runtime.get_available_providers(), name)
        self._session = open_session(str(file), str(file), providers=providers, threads=cpu_threads)
        missing = {_name(provider) for provider in providers} - set(self._session.get_providers())
        if missing:
            raise ConfigError(f"--engine {name}: {', '.join(sorted(missing))} cannot start; is its CUDA installed?")
        self.input_names = [each.name for each in self._session.get_inputs()]

    def __call__(self, batch: Arrays) -> list[NDArray[Any]]:
        """The model's outputs."""
        try:
            return self._session.run(None, {name: batch[name] for name in self.input_names})
        except Exception as error:
            raise WeightsError(f"onnxruntime cannot compute this batch: {reason(error)}") from error


class OpenVinoEngine:
    """An ONNX file under OpenVINO on the CPU, in float32 as it was trained."""

    def __init__(self, file: Path, *, cpu_threads: int) -> None:
        openvino = _imported("openvino", "openvino")
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": cpu_threads}
        try:
            self._model = openvino.Core().compile_model(str(file), "CPU", settings)
        except RuntimeError as error:
            raise WeightsError(f"{file}: OpenVINO cannot load it: {reason(error)}") from error
        self.input_names = [each.get_any_name() for each in self._model.inputs]

    def __call__(self, batch: Arrays) -> list[NDArray[Any]]:
        """The model's outputs, copied: OpenVINO uses their memory again."""
        try:
            found = self._model({name: batch[name] for name in self.input_names})
        except RuntimeError as error:
            raise WeightsError(f"OpenVINO cannot compute this batch: {reason(error)}") from error
        return [found[output].copy() for output in self._model.outputs]


def onnx_engine(file: Path, engine: str, *, device: Device, run_mode: RunMode, cpu_threads: int) -> Engine:
    """The engine of that name with ``file`` loaded.

    Raises :class:`ConfigError` for an engine that is not installed or lacks the device, :class:`WeightsError` for a
    file that it cannot read.
    """
    if engine == "openvino":
        if device == "GPU":
            raise ConfigError("--engine openvino computes on the CPU; use --device CPU, or --engine onnxruntime")
        return OpenVinoEngine(file, cpu_threads=cpu_threads)
    half = run_mode == "trt_fp16"
    return OnnxRuntimeEngine(file, device=device, cpu_threads=cpu_threads, tensorrt=engine == "tensorrt", half=half)


def _imported(package: str, engine: str) -> Any:
    """The module ``package``; raises :class:`ConfigError` saying how to install ``engine``."""
    try:
        return __import__(package)
    except ImportError as error:
        raise ConfigError(f"--engine {engine}: not installed here ({error}): {INSTALL[engine]}") from error


def _check_providers(wanted: list[Any], available: list[str], engine: str) -> None:
    missing = [name for name in map(_name, wanted) if name not in available]
    if missing:
        raise ConfigError(f"--engine {engine}: this onnxruntime has no {' and no '.join(missing)}: {INSTALL[engine]}")


def _name(provider: str | tuple[str, Mapping[str, Any]]) -> str:
    return provider if isinstance(provider, str) else provider[0]
