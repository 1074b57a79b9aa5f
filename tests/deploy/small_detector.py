"""Weights and inputs under which a mistake in export or preprocessing shows."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn


def scatter_statistics(model: nn.Layer) -> None:
    """Running statistics and objectness unlike their initial values, so that a mistake in either shows."""
    rng = np.random.default_rng(7)
    for layer in model.sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            shape = layer._mean.shape
            layer._mean.set_value(rng.normal(0, 0.05, shape).astype("float32"))
            layer._variance.set_value(rng.uniform(0.5, 1.5, shape).astype("float32"))
            layer.weight.set_value(rng.uniform(0.9, 1.3, shape).astype("float32"))
            layer.bias.set_value(rng.normal(0, 0.1, shape).astype("float32"))
    for conv in model.yolo_head.yolo_output:
        conv.bias.set_value(paddle.to_tensor(rng.normal(0, 1, conv.bias.shape).astype("float32")))


def random_batch(images: int, height: int, width: int) -> dict[str, np.ndarray]:
    """Network inputs with a scale of their own for each image."""
    rng = np.random.default_rng(images * height + width)
    scale = rng.uniform(0.4, 1.6, (images, 2)).astype("float32")
    shape = np.tile(np.float32([height, width]), (images, 1))
    return {
        "image": rng.normal(0, 1, (images, 3, height, width)).astype("float32"),
        "im_shape": shape,
        "scale_factor": scale,
    }
