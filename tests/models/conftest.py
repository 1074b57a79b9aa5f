"""Shared by the tests of models: detectors from the published configurations, batches from frozen streams."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle.base import core
from parity_fill import boxes, image_batch

from ppkd.config import load_config
from ppkd.models import build_detector
from ppkd.structures import Batch
from ppkd.utils.runtime import THREADS as OF_PROCESS

TINY = [
    "num_classes=3",
    "YOLOv3.backbone=MobileNetV1",
    "YOLOv3FPN.scale=0.125",
    "MobileNetV1.scale=0.125",
]


@pytest.fixture(scope="session")
def published(root: Path) -> Callable[..., Any]:
    """Builds the detector of a file below configs/yolov3, random weights, with overrides."""

    def build(name: str, *overrides: str) -> Any:
        return build_detector(load_config(root / "configs" / "yolov3" / f"{name}.yml", overrides))

    return build


@pytest.fixture
def tiny(published: Callable[..., Any]) -> Any:
    """A YOLOv3 of three classes that is an eighth as wide, its weights drawn from seed 0."""
    paddle.seed(0)
    return published("yolov3_mobilenet_v1_270e_coco", *TINY)


def make_batch(height: int, width: int, counts: list[int], num_classes: int) -> Batch:
    """A labelled batch of ``len(counts)`` images; image i has ``counts[i]`` boxes."""
    corners, labels = boxes(height, width, counts, num_classes)
    images = len(counts)
    return {
        "image": paddle.to_tensor(image_batch(images, height, width)),
        "im_shape": paddle.to_tensor(np.tile(np.float32([[height, width]]), (images, 1))),
        "scale_factor": paddle.ones([images, 2]),
        "gt_bbox": [paddle.to_tensor(box) for box in corners],
        "gt_class": [paddle.to_tensor(label) for label in labels],
    }


@pytest.fixture(scope="session")
def batches() -> Callable[..., Batch]:
    return make_batch


@pytest.fixture(scope="module", autouse=True)
def threads(request):
    """A module's ``THREADS``, else the process's own; a prediction before, by an exported model, sets others.

    Low-order bits depend on them, and gradient norms of the references are met with some numbers and not with others.
    """
    core.set_num_threads(getattr(request.module, "THREADS", int(os.environ[OF_PROCESS])))
