"""All registered detectors and distillation losses, found without a list to edit, and those of the tests alone."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from fcos import fcos
from mean_channels import MeanChannels
from narrow import narrow
from queries import queries

from ppkd.config import Config, build, load_config
from ppkd.distill import DistillLoss, FrozenTeacher
from ppkd.distill.methods import CLASSES, example, registered
from ppkd.models import build_detector
from ppkd.models.detectors.detector import Detector
from ppkd.structures import Batch, DetectorSpec

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
HEIGHT, WIDTH = 64, 96

DETECTORS = registered(Detector)
LOSSES = registered(DistillLoss)
OWN_DETECTORS = {"FCOS": fcos, "TinyQueries": queries}
OWN_LOSSES = {"MeanChannels": MeanChannels}
ALL_DETECTORS = [*DETECTORS, *OWN_DETECTORS]
ALL_LOSSES = [*LOSSES, *OWN_LOSSES]


@cache
def small_config(detector: str) -> Config:
    """The smallest published configuration of a detector; instead of a ResNet it has a narrow MobileNet."""
    cfg = example(detector, CONFIGS)
    return load_config(cfg.path, ["pretrain_weights=null", f"num_classes={CLASSES}", *narrow(cfg)])


@cache
def _drawn(name: str, seed: int) -> Detector:
    """The detector; where training starts from zeros, which would make any two equal, it has random weights too."""
    paddle.seed(seed)
    model = OWN_DETECTORS[name](CLASSES) if name in OWN_DETECTORS else build_detector(small_config(name))
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.abs().max().item():
            parameter.set_value(0.01 * paddle.randn(parameter.shape))
    return model


def detector(name: str, seed: int) -> Detector:
    """A detector with random weights of its own: a copy, ten times faster than drawing them."""
    copied = deepcopy(_drawn(name, seed))
    paddle.seed(seed)
    return copied


@cache
def shared_teacher(name: str) -> tuple[Detector, str]:
    """One detector for all tests with a teacher of that name, and its fingerprint, which nothing may change."""
    model = detector(name, seed=1)
    return model, FrozenTeacher(model).fingerprint()


def shared_student(name: str) -> Detector:
    """One detector for all tests that change no more of it than gradients and statistics, which are as if new."""
    model, statistics = _shared_student(name)
    for tensor, drawn in zip(_statistics(model), statistics, strict=True):
        tensor.set_value(drawn)
    for parameter in model.parameters():
        parameter.clear_gradient(set_to_zero=False)
    model.train()
    paddle.seed(0)
    return model


@cache
def _shared_student(name: str) -> tuple[Detector, list[np.ndarray]]:
    model = detector(name, seed=0)
    return model, [tensor.numpy() for tensor in _statistics(model)]


def _statistics(model: Detector) -> list[paddle.Tensor]:
    """What training changes without a gradient; some layers of Paddle keep their statistics among their parameters."""
    return [tensor for tensor in model.state_dict().values() if tensor.stop_gradient]


def loss_between(name: str, student: DetectorSpec, teacher: DetectorSpec) -> DistillLoss:
    """A loss with its default settings; raises :class:`SpecError` where it does not go with the two."""
    if name in OWN_LOSSES:
        return OWN_LOSSES[name](student, teacher)
    return build(Config({}, {}), name, student=student, teacher=teacher)


def batch(boxes: tuple[int, ...] = (3, 0), seed: int = 0) -> Batch:
    """Noise images with so many random boxes each."""
    rng = np.random.default_rng(seed)
    images = len(boxes)
    corners: list[Any] = []
    for count in boxes:
        low = rng.uniform(0, [0.6 * WIDTH, 0.6 * HEIGHT], (count, 2))
        size = rng.uniform(8, [0.4 * WIDTH, 0.4 * HEIGHT], (count, 2))
        corners.append(paddle.to_tensor(np.concatenate([low, low + size], axis=1).astype("float32")))
    return {
        "image": paddle.to_tensor(rng.standard_normal((images, 3, HEIGHT, WIDTH)).astype("float32")),
        "im_shape": paddle.to_tensor([[HEIGHT, WIDTH]] * images, dtype="float32"),
        "scale_factor": paddle.ones([images, 2]),
        "im_id": paddle.arange(images).reshape([images, 1]),
        "gt_bbox": corners,
        "gt_class": [paddle.to_tensor(rng.integers(0, CLASSES, count)) for count in boxes],
    }
