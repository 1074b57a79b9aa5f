"""Layers for a while in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from paddle import nn


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
