"""BatchNorm folded into the convolution before it, for a model that no longer trains."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, TypeVar

import paddle
from paddle import Tensor, nn

from ppkd.models.layers.folding import folded

M = TypeVar("M", bound=nn.Layer)


def fused(model: M, batch: dict[str, Any]) -> M:
    """A copy of ``model`` in evaluation mode whose convolution-BatchNorm pairs are one convolution each.

    Pairs are those that a run of ``model.extract(batch)`` shows: a BatchNorm whose input is the output of a
    convolution. A layer that is used several times keeps its BatchNorm. ``model`` itself is not changed.
    """
    model = copy.deepcopy(model)
    model.eval()
    parents = {
        id(child): (layer, name)
        for layer in model.sublayers(include_self=True)
        for name, child in layer.named_children()
    }
    for conv, norm in _pairs(model, batch):
        _fold(conv, norm)
        parent, name = parents[id(norm)]
        setattr(parent, name, nn.Identity())
    return model


def _pairs(model: nn.Layer, batch: dict[str, Any]) -> list[tuple[nn.Conv2D, nn.BatchNorm2D]]:
    """Convolutions and the BatchNorms that alone follow them, each called once."""
    outputs: dict[int, tuple[nn.Conv2D, Tensor]] = {}
    calls: Counter[int] = Counter()
    pairs = []

    def remember(layer: nn.Layer, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[id(layer)] += 1
        outputs[id(output)] = (layer, output)

    def match(layer: nn.Layer, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        calls[id(layer)] += 1
        if id(inputs[0]) in outputs:
            pairs.append((outputs[id(inputs[0])][0], layer))

    hooks = [layer.register_forward_post_hook(remember) for layer in model.sublayers() if isinstance(layer, nn.Conv2D)]
    hooks += [
        layer.register_forward_post_hook(match) for layer in model.sublayers() if isinstance(layer, nn.BatchNorm2D)
    ]
    with paddle.no_grad():
        model.extract(batch)
    for hook in hooks:
        hook.remove()
    return [(conv, norm) for conv, norm in pairs if calls[id(conv)] == calls[id(norm)] == 1]


def _fold(conv: nn.Conv2D, norm: nn.BatchNorm2D) -> None:
    """``norm(conv(x))`` becomes ``conv(x)``."""
    weight, bias = folded(conv, norm)
    if conv.bias is None:
        conv.bias = conv.create_parameter(bias.shape, is_bias=True)
    conv.weight.set_value(weight)
    conv.bias.set_value(bias)
