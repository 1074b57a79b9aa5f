"""What parity tests have in common: probes of tensors, a training step, and its numbers against the reference's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from paddle import Tensor, nn

from ppkd.models.detectors.detector import Detector
from ppkd.structures import Batch

FROZEN = "train_frozen_bn"
"""The mode in which BatchNorm keeps its statistics, so that rounding stays small."""


def probe(array: np.ndarray) -> np.ndarray:
    """256 numbers, evenly spread."""
    return array.flatten()[np.linspace(0, array.size - 1, 256).astype("int64")]


def assert_inputs(batch: Batch, arrays: Mapping[str, np.ndarray]) -> None:
    """The same first image, boxes and classes."""
    np.testing.assert_array_equal(batch["image"][0].flatten()[:256].numpy(), arrays["in.image.first"])
    for i in range(2):
        np.testing.assert_array_equal(batch["gt_bbox"][i].numpy(), arrays[f"in.gt_bbox.{i}"])
        np.testing.assert_array_equal(batch["gt_class"][i].numpy(), arrays[f"in.gt_class.{i}"])


def train_step(model: Detector, batch: Batch, mode: str) -> dict[str, Tensor]:
    """The losses in training mode, their gradients computed; BatchNorm as ``mode`` says."""
    model.train()
    for layer in model.sublayers():
        if mode == FROZEN and isinstance(layer, nn.BatchNorm2D):
            layer.eval()
    losses = model(batch)
    losses["loss"].backward()
    return losses


def assert_gradients(model: Detector, norms: Mapping[str, float], bound: float) -> None:
    """Norms of the gradients of parameters, by name, within the relative ``bound``."""
    parameters = dict(model.named_parameters())
    for name, norm in norms.items():
        gradient = parameters[name].grad.numpy().astype("float64")
        assert np.linalg.norm(gradient) == pytest.approx(norm, rel=bound), name


def assert_running_statistics(model: Detector, arrays: Mapping[str, np.ndarray]) -> None:
    """The statistics of BatchNorm after a training step."""
    state = model.state_dict()
    names = [key for key in arrays if key.startswith("train.running.")]
    assert names
    for key in names:
        found = state[key.removeprefix("train.running.")].numpy()[:256]
        np.testing.assert_allclose(found, arrays[key], rtol=0, atol=2e-5 * np.abs(arrays[key]).max())
