"""What a detector costs: parameters, operations and the latency of its exported model."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import paddle
from paddle import nn

from ppkd.models.modes import evaluation_mode

if TYPE_CHECKING:
    from ppkd.config import Config
    from ppkd.models.detectors.detector import Detector


FLOPS_SHAPE = (3, 640, 640)


@dataclass(frozen=True)
class Complexity:
    """Size of a detector at one input size; ``gflops`` counts a multiply-add once, as ``paddle.flops`` does."""

    parameters: int
    gflops: float


def count_parameters(model: nn.Layer) -> int:
    """Number of trainable and frozen parameters, without BatchNorm's running statistics."""
    learned = (value for name, value in model.named_parameters() if not name.endswith(("._mean", "._variance")))
    return sum(math.prod(parameter.shape) for parameter in learned)


def _operations(layer: nn.Layer, inputs: tuple[Any, ...], output: Any) -> int:
    """Multiply-adds of one call of a convolution, BatchNorm or linear layer; 0 for other layers."""
    if isinstance(layer, nn.Conv2D | nn.Conv2DTranspose):
        per_filter = math.prod(layer.weight.shape[1:])
        pixels = output if isinstance(layer, nn.Conv2D) else inputs[0]
        bias = math.prod(output.shape) if layer.bias is not None else 0
        return math.prod(pixels.shape) * per_filter + bias
    if isinstance(layer, nn.BatchNorm2D | nn.SyncBatchNorm):
        return 2 * math.prod(output.shape)
    if isinstance(layer, nn.Linear):
        return math.prod(output.shape) * layer.weight.shape[0]
    return 0


def complexity(model: Detector, height: int, width: int) -> Complexity:
    """Parameters and operations of ``model.extract`` on one RGB image of ``height`` x ``width`` pixels.

    Layers called several times count each time; functional operations and post-processing do not count. Unlike
    ``paddle.flops`` it draws no random numbers, adds no buffers to the model and keeps each layer's training flag.
    """
    return Complexity(count_parameters(model), sum(operations(model, height, width).values()) / 1e9)


def operations(model: Detector, height: int, width: int) -> dict[str, int]:
    """The multiply-adds that :func:`complexity` counts, by the names of the layers."""
    total = dict.fromkeys((name for name, _ in model.named_sublayers()), 0)

    def counting(name: str) -> Callable[[nn.Layer, tuple[Any, ...], Any], None]:
        def count(layer: nn.Layer, inputs: tuple[Any, ...], output: Any) -> None:
            total[name] += _operations(layer, inputs, output)

        return count

    hooks = [layer.register_forward_post_hook(counting(name)) for name, layer in model.named_sublayers()]
    size = paddle.to_tensor([[height, width]], dtype="float32")
    batch = {"image": paddle.zeros([1, 3, height, width]), "im_shape": size, "scale_factor": paddle.ones([1, 2])}
    try:
        with evaluation_mode(model), paddle.no_grad():
            model.extract(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return total


def image_size(cfg: Config) -> tuple[int, int]:
    """Height and width at which the detector of ``cfg`` is counted: those of its ``TestReader``, else 640 x 640."""
    _, height, width = tuple(cfg.at("TestReader.inputs_def.image_shape", None) or FLOPS_SHAPE)[-3:]
    return (height, width) if (height or -1) > 0 and (width or -1) > 0 else FLOPS_SHAPE[1:]


def cpu_latency(model_dir: Path | str, *, cpu_threads: int = 1, runs: int = 20, warmup: int = 3) -> float:
    """Median milliseconds of the exported model on one picture, without reading and preparing it.

    The picture is noise of 640 x 480 pixels, prepared as ``infer_cfg.yml`` says; ``warmup`` runs are not timed.
    """
    from ppkd.deploy.predictor import Predictor

    predictor = Predictor(model_dir, cpu_threads=cpu_threads)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    batch = predictor.preprocess.collate([predictor.preprocess(noise).sample])
    seconds = []
    for _ in range(warmup + runs):
        start = time.perf_counter()
        predictor.engine(batch)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[warmup:]) * 1e3
