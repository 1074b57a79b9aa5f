"""The process a run lives in: device, number of processes, seed."""

from __future__ import annotations

import os
from typing import Any

import paddle
from paddle import nn

from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


def choose_device(use_gpu: bool) -> bool:
    """Make the GPU the device if ``use_gpu`` and there is one, else the CPU; returns whether it is the GPU."""
    found = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if use_gpu and not found:
        logger.info("use_gpu is true, but there is no GPU that this Paddle can use: running on the CPU")
    paddle.set_device("gpu" if use_gpu and found else "cpu")
    return use_gpu and found


def processes() -> int:
    """How many processes train together, as ``paddle.distributed.launch`` tells."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def is_first() -> bool:
    """Whether this process writes the run's files."""
    return os.environ.get("PADDLE_TRAINER_ID", "0") == "0"


def wrap(model: nn.Layer, *, find_unused_parameters: bool) -> Any:
    """``model``, or its gradient-averaging wrapper when several processes train together."""
    if processes() == 1:
        return model
    paddle.distributed.init_parallel_env()
    return paddle.DataParallel(model, find_unused_parameters=find_unused_parameters)
