"""An exported ONNX file as a Python object, without Paddle."""

from __future__ import annotations

from pathlib import Path

from ppkd.deploy.description import UNDECODED, Description
from ppkd.deploy.engine import Device, RunMode
from ppkd.deploy.nms import suppression
from ppkd.deploy.onnx_engines import onnx_engine
from ppkd.deploy.onnx_file import onnx_file, read_metadata
from ppkd.deploy.pipeline import Pipeline
from ppkd.deploy.preprocess import Preprocess
from ppkd.utils.errors import ConfigError, WeightsError

ENGINES = ("onnxruntime", "openvino", "tensorrt")
MOST_OPSET = 23
"""The newest version of ONNX's operators that a file of ours may have been converted to."""


class OnnxPredictor(Pipeline):
    """Runs what ``ppkd export --format onnx`` wrote, with nothing but that file; ``config`` is what it says of itself.

    ``model`` is the file, or the folder with its ``model.onnx``. Suppression that was left outside of the model is done
    here. Raises :class:`WeightsError` for a file that is missing, damaged, of another program, or has raw heads alone,
    and :class:`ConfigError` for an engine that is not installed.
    """

    def __init__(
        self,
        model: Path | str,
        *,
        engine: str = "onnxruntime",
        device: Device = "CPU",
        run_mode: RunMode = "paddle",
        cpu_threads: int = 1,
    ) -> None:
        if engine not in ENGINES:
            raise ConfigError(f"--engine {engine} does not read ONNX files; {', '.join(ENGINES)} do")
        file = onnx_file(Path(model))
        metadata, opset = read_metadata(file)
        self.config = Description.of(metadata, str(file))
        if opset > MOST_OPSET:
            raise WeightsError(f"{file}: it uses opset {opset}, but at most {MOST_OPSET} is known; export it again")
        if self.config.outputs in UNDECODED:
            raise WeightsError(f"{file}: it has raw heads alone, no boxes; export it with --nms inside or outside")
        outside = self.config.outputs == "boxes"
        suppress = suppression(self.config.nms, str(file)) if outside else None
        preprocess = Preprocess(self.config, str(file))
        computes = onnx_engine(file, engine, device=device, run_mode=run_mode, cpu_threads=cpu_threads)
        super().__init__(computes, preprocess, suppress=suppress, limit=self.config.batch)
