"""Layers for a while in evaluation mode, or without lasting effect on what moves in training mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from paddle import Tensor, nn


@contextmanager
def evaluation_mode(model: nn.Layer) -> Iterator[None]:
    """``model`` in evaluation mode; afterwards every sublayer has the mode it had (frozen BatchNorms stay frozen)."""
    modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    model.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training


def moving_tensors(model: nn.Layer) -> list[Tensor]:
    """What changes without gradients: buffers, and moving statistics, which Paddle keeps as untrained parameters."""
    return [tensor for tensor in model.state_dict().values() if tensor.stop_gradient]


@contextmanager
def statistics_kept(model: nn.Layer) -> Iterator[None]:
    """Moving statistics of ``model`` are afterwards as before, whatever passes through it inside."""
    before = [(tensor, tensor.clone()) for tensor in moving_tensors(model)]
    try:
        yield
    finally:
        for tensor, value in before:
            tensor.set_value(value)
