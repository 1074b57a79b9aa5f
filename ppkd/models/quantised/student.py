"""A student that computes as its INT8 model will, with the names and shapes of its weights unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MethodType

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.models.detectors.detector import Detector
from ppkd.models.layers.rep_vgg import RepVggBlock
from ppkd.models.modes import evaluation_mode
from ppkd.models.quantised.ranges import Range, rounded_weight
from ppkd.models.quantised.units import Unit, units
from ppkd.structures import Batch

MERGED = ".conv"
"""Behind the name of a block with branches, that of the convolution which it becomes."""


def quantise(detector: Detector, *, rate: float) -> nn.LayerDict:
    """Let ``detector`` compute with 8-bit numbers from now on; returns its ranges by name, which it does not hold.

    Weights are rounded in each channel by themselves, activations by ranges with moving averages of ``rate``. Blocks
    with branches compute as the one convolution that they become, with the moving statistics of their normalisation.
    """
    layers = dict(all_layers(detector))
    ranges = nn.LayerDict({})
    for unit in units(detector):
        source = None
        if unit.source is not None:
            if unit.source not in ranges:
                ranges[unit.source] = Range(rate=rate, above_zero=False)
            source = ranges[unit.source]
        result = ranges[unit.result] = Range(rate=rate, above_zero=unit.above_zero)
        _install(layers, unit, source, result)
    return ranges


def all_layers(layer: nn.Layer, prefix: str = "") -> Iterator[tuple[str, nn.Layer]]:
    """All sublayers by name, also those that have several names, of which Paddle gives the first one alone."""
    for name, child in layer._sub_layers.items():
        if child is not None:
            yield f"{prefix}{name}", child
            yield from all_layers(child, f"{prefix}{name}.")


def _install(layers: Mapping[str, nn.Layer], unit: Unit, source: Range | None, result: Range) -> None:
    block = layers.get(unit.conv.removesuffix(MERGED))
    if isinstance(block, RepVggBlock):
        block.forward = MethodType(_MergedForward(source, result), block)
        return
    conv = layers[unit.conv]
    conv.forward = MethodType(_ConvForward(source, None if unit.norm else result), conv)
    if unit.norm:
        layers[unit.norm].register_forward_post_hook(lambda norm, _inputs, y: result(y, moves=norm.training))


class _ConvForward:
    """The ``forward`` of a convolution."""

    def __init__(self, source: Range | None, result: Range | None) -> None:
        self._source, self._result = source, result

    def __call__(self, conv: nn.Conv2D, x: Tensor) -> Tensor:
        x = _through(self._source, x, conv)
        y = F.conv2d(
            x, rounded_weight(conv.weight), conv.bias, conv._stride, conv._padding, conv._dilation, conv._groups
        )
        return _through(self._result, y, conv)


class _MergedForward:
    """The ``forward`` of a block whose branches are merged."""

    def __init__(self, source: Range | None, result: Range) -> None:
        self._source, self._result = source, result

    def __call__(self, block: RepVggBlock, x: Tensor) -> Tensor:
        weight, bias = block.one_convolution()
        y = F.conv2d(_through(self._source, x, block), rounded_weight(weight), bias, padding=1)
        return block.activated(_through(self._result, y, block))


def _through(passed: Range | None, x: Tensor, layer: nn.Layer) -> Tensor:
    # The mode of the layer, not of the range: a student is evaluated without what is trained beside it.
    return x if passed is None else passed(x, moves=layer.training)


@contextmanager
def measuring(ranges: nn.LayerDict) -> Iterator[None]:
    """Inside, what passes is not rounded, and the ranges grow to hold it."""
    for each in ranges.values():
        each.measuring = True
    try:
        yield
    finally:
        for each in ranges.values():
            each.measuring = False


@paddle.no_grad()
def measure(detector: Detector, ranges: nn.LayerDict, batches: Sequence[Batch]) -> None:
    """Let the ``ranges`` of ``detector`` hold what it computes of ``batches`` in evaluation mode."""
    with evaluation_mode(detector), measuring(ranges):
        for batch in batches:
            detector.extract(batch)
