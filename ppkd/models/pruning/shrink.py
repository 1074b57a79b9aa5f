"""A detector with fewer channels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor, nn

from ppkd.models.detectors.detector import Detector, PyramidDetector
from ppkd.models.modes import evaluation_mode
from ppkd.models.pruning.labels import FIXED, Labels
from ppkd.models.pruning.trace import SIDE, Channels, trace
from ppkd.utils.download import fetch
from ppkd.utils.errors import ConfigError, WeightsError
from ppkd.utils.serialization import read_weights

Shapes = Mapping[str, Sequence[int]]


def remove(detector: Detector, channels: Channels, labels: Labels) -> Shapes:
    """Take what has one of ``labels`` out of all parameters and buffers; returns the shapes of those that changed."""
    state = detector.state_dict()
    smaller: dict[str, NDArray[np.generic]] = {}
    for (name, axis), line in channels.axes.items():
        gone = np.isin(line, labels)
        if gone.any():
            array = smaller.get(name, state[name].numpy())
            smaller[name] = array.compress(~gone, axis=axis)
    for name, array in smaller.items():
        _replace(state[name], array)
    _settle(detector)
    return {name: list(array.shape) for name, array in smaller.items()}


def resize(detector: Detector, shapes: Shapes) -> None:
    """Give parameters and buffers the ``shapes`` of a pruned detector; their values are no more than a start."""
    state = detector.state_dict()
    for name, shape in shapes.items():
        own = None if name not in state else state[name].shape
        if own is None or len(own) != len(shape) or any(size > most for size, most in zip(shape, own, strict=True)):
            raise ConfigError(
                f"pruned says that {name} has the shape {list(shape)}, but this {type(detector).__name__} has "
                f"{'none of that name' if own is None else list(own)}: was another detector pruned?"
            )
        _replace(state[name], state[name].numpy()[tuple(map(slice, shape))])
    _settle(detector)


def shapes_in(source: str | os.PathLike[str], detector: Detector) -> Shapes:
    """The shapes in a file of weights of what is smaller there than in ``detector`` and can be pruned.

    Raises :class:`WeightsError` for a file that cannot be read, or has no fewer channels.
    """
    arrays = read_weights(fetch(source))
    state, channels = detector.state_dict(), trace(detector)
    smaller = {
        name: list(arrays[name].shape)
        for name in dict.fromkeys(name for name, _ in channels.axes)
        if name in arrays and _pruned(channels, name, state[name].shape, arrays[name].shape)
    }
    if not smaller:
        raise WeightsError(f"{source}: no channels are pruned in these weights; leave --slim_config out")
    return smaller


def _pruned(channels: Channels, name: str, own: Sequence[int], found: Sequence[int]) -> bool:
    """Whether a tensor has its ``own`` shape in ``found`` but for fewer channels along axes that can be pruned."""
    if len(own) != len(found) or list(own) == list(found):
        return False
    free = [(name, axis) in channels.axes and FIXED not in channels.axes[name, axis] for axis in range(len(own))]
    return all(size == most or (size < most and may) for size, most, may in zip(found, own, free, strict=True))


def _replace(tensor: Tensor, array: NDArray[np.generic]) -> None:
    """Another shape for a tensor that optimizer and layers may already know: it stays the same object."""
    tensor.value().get_tensor().set(np.ascontiguousarray(array), paddle.framework._current_expected_place())


def _settle(detector: Detector) -> None:
    """Let everything that says how many channels there are say it of the present weights."""
    for layer in detector.sublayers():
        if isinstance(layer, nn.Conv2D):
            if layer._groups > 1 and layer.weight.shape[1] == 1:
                layer._groups = layer.weight.shape[0]
            layer._out_channels, layer._in_channels = layer.weight.shape[0], layer.weight.shape[1] * layer._groups
        elif isinstance(layer, nn.BatchNorm2D):
            layer._num_features = layer.weight.shape[0]
        elif isinstance(layer, nn.Linear):
            layer.in_features, layer.out_features = layer.weight.shape
    _renew_specs(detector)


@paddle.no_grad()
def _renew_specs(detector: Detector) -> None:
    if not isinstance(detector, PyramidDetector):
        return
    with evaluation_mode(detector):
        maps = detector.features({"image": paddle.zeros([1, 3, SIDE, SIDE])})
    last = detector.backbone if detector.neck is None else detector.neck
    last.out_specs = tuple(
        replace(spec, channels=map_.shape[1]) for spec, map_ in zip(last.out_specs, maps, strict=True)
    )
