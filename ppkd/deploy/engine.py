"""What computes a batch: Paddle Inference on an exported model, or the detector itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ppkd.utils.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from ppkd.models.detectors.detector import Detector

Arrays = Mapping[str, Any]
"""The model's inputs by name; under ``views`` those of further views of the same pictures."""
Device = Literal["CPU", "GPU"]
RunMode = Literal["paddle", "trt_fp32", "trt_fp16"]

_PROGRAMS = ("model.json", "model.pdmodel", "inference.json", "inference.pdmodel")
_GPU_MEMORY_MB = 200  # as in PaddleDetection's deployment
_TRT_WORKSPACE = 1 << 30


class Engine(Protocol):
    """Computes ``image`` (N, 3, H, W), ``im_shape`` (N, 2), ``scale_factor`` (N, 2) into the model's outputs."""

    def __call__(self, batch: Arrays) -> list[NDArray[Any]]:
        """The outputs as they were exported: ``bbox`` (M, 6), ``bbox_num`` (N,), ``mask`` (M, H, W) if any."""
        ...


class EagerEngine:
    """The detector as it is, in evaluation mode, without export."""

    def __init__(self, model: Detector) -> None:
        self.model = model
        model.eval()

    def __call__(self, batch: Arrays) -> list[NDArray[Any]]:
        """What the detector finds, in all views of the pictures."""
        import paddle

        from ppkd.models.views import detect

        with paddle.no_grad():
            result = detect(self.model, _tensors(batch))
        return [result[name].numpy() for name in ("bbox", "bbox_num", "mask") if name in result]


def _tensors(batch: Arrays) -> dict[str, Any]:
    import paddle

    views = {name: [_tensors(view) for view in value] for name, value in batch.items() if isinstance(value, list)}
    return views | {name: paddle.to_tensor(value) for name, value in batch.items() if name not in views}


def model_files(model_dir: Path) -> tuple[Path, Path]:
    """The program and its parameters in ``model_dir``, by the names that Paddle 3 and Paddle 2 write.

    Raises :class:`WeightsError` naming the folder and what it lacks.
    """
    for name in _PROGRAMS:
        program = model_dir / name
        parameters = program.with_suffix(".pdiparams")
        if program.is_file():
            if not parameters.is_file():
                raise WeightsError(f"{model_dir}: {name} is there without {parameters.name}; export the model again")
            return program, parameters
    raise WeightsError(f"{model_dir}: no exported model: none of {', '.join(_PROGRAMS)}; see `ppkd export`")


class InferenceEngine:
    """An exported model under Paddle Inference.

    Without oneDNN its results on a CPU equal those of the detector bit for bit at an equal number of threads, so oneDNN
    (Paddle's default) is off unless ``enable_mkldnn``. After a run the whole process computes with ``cpu_threads``.
    Raises :class:`ConfigError` for a device or run mode that this Paddle does not have, and :class:`WeightsError`
    if the files are missing or damaged.
    """

    def __init__(
        self,
        model_dir: Path | str,
        *,
        device: Device = "CPU",
        run_mode: RunMode = "paddle",
        cpu_threads: int = 1,
        enable_mkldnn: bool = False,
        min_subgraph_size: int = 3,
    ) -> None:
        from paddle import inference

        program, parameters = model_files(Path(model_dir))
        _check_build(device, run_mode)
        config = inference.Config(str(program), str(parameters))
        config.disable_glog_info()
        if device == "GPU":
            config.enable_use_gpu(_GPU_MEMORY_MB, 0)
        else:
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(cpu_threads)
            if enable_mkldnn:
                config.enable_mkldnn()
            else:
                config.disable_mkldnn()
        # enable_memory_optim is not called: it fails on the programs of Paddle 3.
        if run_mode != "paddle":
            config.enable_tensorrt_engine(
                workspace_size=_TRT_WORKSPACE,
                min_subgraph_size=min_subgraph_size,
                precision_mode=_precision(inference, run_mode),
            )
        try:
            self._predictor = inference.create_predictor(config)
        except (RuntimeError, ValueError) as error:
            raise WeightsError(
                f"{model_dir}: Paddle Inference cannot load {program.name} with {parameters.name}: {_last_line(error)}"
            ) from error
        self.input_names: list[str] = self._predictor.get_input_names()
        self.output_names: list[str] = self._predictor.get_output_names()

    def __call__(self, batch: Arrays) -> list[NDArray[Any]]:
        """Runs the program on host arrays and copies its outputs back."""
        for name in self.input_names:
            self._predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(batch[name]))
        self._predictor.run()
        return [self._predictor.get_output_handle(name).copy_to_cpu() for name in self.output_names]


def _check_build(device: Device, run_mode: RunMode) -> None:
    """Refuse what this build of Paddle, or this machine, does not have."""
    import paddle
    from paddle import inference

    if device == "GPU" and not (paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count()):
        raise ConfigError("--device GPU: this Paddle has no CUDA or sees no GPU; use --device CPU")
    if run_mode == "paddle":
        return
    if inference.get_trt_compile_version() == (0, 0, 0):
        raise ConfigError(f"--run_mode {run_mode}: this Paddle is built without TensorRT; use --run_mode paddle")
    if device != "GPU":
        raise ConfigError(f"--run_mode {run_mode}: TensorRT needs --device GPU")


def _precision(inference: Any, run_mode: RunMode) -> Any:
    return inference.PrecisionType.Half if run_mode == "trt_fp16" else inference.PrecisionType.Float32


def _last_line(error: Exception) -> str:
    """The last line of Paddle's long C++ message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
