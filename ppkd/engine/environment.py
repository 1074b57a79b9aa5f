"""The process a run lives in: its device, and the other processes that it trains or evaluates with."""

from __future__ import annotations

import os
from typing import Any

import paddle
from paddle import nn
from paddle.base import core

from ppkd.models.detectors.detector import Detector
from ppkd.models.modes import moving_tensors
from ppkd.utils import processes
from ppkd.utils.errors import TrainingError
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


TF32 = "NVIDIA_TF32_OVERRIDE"
"""What cuBLAS and cuDNN read before anything else: 0 forbids TF32, 1 commands it."""


def choose_device(use_gpu: bool, *, tf32: bool) -> bool:
    """Make the GPU the device if ``use_gpu`` and there is one, else the CPU; returns whether it is the GPU.

    ``tf32`` lets the GPU round the factors of float32 products and convolutions to TF32. Joins the other processes of
    ``paddle.distributed.launch``, if there are any.
    """
    found = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if use_gpu and not found:
        logger.info("use_gpu is true, but there is no GPU that this Paddle can use: running on the CPU")
    gpu = use_gpu and found
    if gpu:
        logger.info("TF32: %s", choose_tf32(tf32))
    paddle.set_device("gpu" if gpu else "cpu")
    if processes.count() > 1 and not processes.together():
        paddle.distributed.init_parallel_env()
        logger.info("Processes: %d (%s)", processes.count(), paddle.distributed.get_backend())
    return gpu


def choose_tf32(allowed: bool) -> str:
    """Let products and convolutions of float32 on GPUs use TF32, or not; returns what is in force, in words.

    A choice in the environment stays. Where there is none this one is made there too, because a Paddle that forbids
    TF32 by itself does so in the environment of its process. Call it before anything is computed on the GPU.
    """
    if TF32 in os.environ:
        return f"decided already by {TF32}={os.environ[TF32]}"
    os.environ[TF32] = str(int(allowed))
    core.set_cublas_switch(allowed)
    core.set_cudnn_switch(allowed)
    return "on (tf32: true)" if allowed else "off (tf32: false)"


def ended_peer(error: RuntimeError) -> TrainingError | None:
    """What to tell instead of ``error`` when it comes from a connection to a process that has ended."""
    if processes.count() == 1 or "gloo" not in str(error):
        return None
    return TrainingError(
        "another process of this run has ended, so this one cannot go on. Its reason is in the launcher's log of it "
        "(workerlog.N) and, if it could still write, above; resume from the run's folder with -r"
    )


def synchronise_norms(model: nn.Layer, norm_type: str, gpu: bool) -> nn.Layer:
    """``model`` with batch statistics over all processes where ``norm_type`` is ``sync_bn``.

    Frozen layers stay as they are. Paddle has the synchronised layer for GPUs only: on a CPU every process keeps
    statistics of its own, the first one's are saved, and the log says so.
    """
    if norm_type != "sync_bn" or processes.count() == 1:
        return model
    if not gpu:
        logger.info("norm_type: sync_bn needs GPUs: every process normalises by its own images, as with bn")
        return model
    return _synchronised(model)


def _synchronised(layer: nn.Layer) -> nn.Layer:
    if isinstance(layer, nn.BatchNorm2D):
        return layer if layer._use_global_stats else nn.SyncBatchNorm.convert_sync_batchnorm(layer)
    for name, child in layer.named_children():
        layer.add_sublayer(name, _synchronised(child))
    return layer


def compile_backbone(detector: Detector) -> None:
    """Let the backbone of ``detector`` run as a static graph from now on, for images of any size; weights stay."""
    image = paddle.static.InputSpec([None, 3, None, None], "float32")
    paddle.jit.to_static(detector.part("backbone"), input_spec=[image])


def share_statistics(model: nn.Layer) -> None:
    """Give every process the moving statistics of the first one, which are those that are saved."""
    if processes.together():
        for tensor in moving_tensors(model):
            paddle.distributed.broadcast(tensor, src=0)


def wrap(model: nn.Layer, *, find_unused_parameters: bool, fleet: bool = False) -> Any:
    """``model``, or its gradient-averaging wrapper when several processes train together.

    ``fleet`` lets Paddle's fleet make the wrapper, which in collective training is the same one.
    """
    if processes.count() == 1:
        return model
    if not fleet:
        return paddle.DataParallel(model, find_unused_parameters=find_unused_parameters)
    from paddle.distributed import fleet as engine

    strategy = engine.DistributedStrategy()
    strategy.find_unused_parameters = find_unused_parameters
    engine.init(is_collective=True, strategy=strategy)
    return engine.distributed_model(model)
