"""From the student's normalised images to those that another network was trained with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle
from paddle import Tensor

from ppkd.config import Config, build, named
from ppkd.data.pixels import normalising
from ppkd.data.transforms import NormalizeImage
from ppkd.structures import Batch
from ppkd.utils.errors import ConfigError

LISTS = ("sample_transforms", "batch_transforms")


@dataclass(frozen=True)
class Preprocess:
    """What a graph expects of its images; the names are those of ``NormalizeImage``.

    Attributes:
        mean: subtracted, in the order of the graph's channels.
        std: divided by, in that order.
        is_scale: divide pixels 0..255 by 255 first.
        bgr: the channels are blue, green, red.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    is_scale: bool = True
    bgr: bool = False

    def __post_init__(self) -> None:
        if 0 in self.std:
            raise ValueError("none of std may be 0")


class Renormalisation:
    """Turns images as one map of pixels makes them into those of another.

    Zeros at the right and bottom of an image, outside of its ``im_shape``, stay zeros: networks that pad do so after
    normalising.

    Args:
        own: the map float32 (3, 4) that made the images, see :func:`ppkd.data.pixels.normalising`.
        wanted: what the graph expects.
    """

    def __init__(self, own: np.ndarray, wanted: Preprocess) -> None:
        order = [2, 1, 0] if wanted.bgr else [0, 1, 2]
        target = normalising(wanted.mean, wanted.std, is_scale=wanted.is_scale).astype(np.float64)
        slope, offset = own[order, order].astype(np.float64), own[order, 3].astype(np.float64)
        factor = target[[0, 1, 2], [0, 1, 2]] / slope
        self._order = None if order == [0, 1, 2] else paddle.to_tensor(order)
        self._factor = _by_channel(factor)
        self._offset = _by_channel(target[:, 3] - factor * offset)

    def __call__(self, batch: Batch) -> Tensor:
        """The images of ``batch`` as the graph expects them, float32 [N, 3, H, W]."""
        images = batch["image"]
        ordered = images if self._order is None else images.index_select(self._order, axis=1)
        return paddle.where(_padding(batch), paddle.zeros_like(images), ordered * self._factor + self._offset)


def student_map(cfg: Config) -> np.ndarray:
    """The map float32 (3, 4) of pixels 0..255 that ``TrainReader`` of ``cfg`` makes; the identity without one.

    Raises :class:`ConfigError` where images are normalised twice.
    """
    entries = [entry for key in LISTS for entry in cfg.at(f"TrainReader.{key}", None) or ()]
    found = [
        build(cfg, entry) for entry in entries if named(entry, cfg.mark("TrainReader"))[0] == NormalizeImage.__name__
    ]
    if len(found) > 1:
        raise ConfigError(f"{cfg.where('TrainReader')}: TrainReader has NormalizeImage twice; keep one")
    return found[0].map if found else normalising((0, 0, 0), (1, 1, 1), is_scale=False)


def _padding(batch: Batch) -> Tensor:
    """Which cells [N, 1, H, W] are zeros beside an image."""
    images = batch["image"]
    height, width = images.shape[2:]
    sizes = batch["im_shape"]
    below = paddle.arange(height, dtype="float32").reshape([1, height, 1]) >= sizes[:, 0].reshape([-1, 1, 1])
    right = paddle.arange(width, dtype="float32").reshape([1, 1, width]) >= sizes[:, 1].reshape([-1, 1, 1])
    zero = (images == 0).all(axis=1)
    return paddle.logical_and(paddle.logical_or(below, right), zero).unsqueeze(1)


def _by_channel(numbers: np.ndarray) -> Tensor:
    return paddle.to_tensor(numbers.astype(np.float32)).reshape([1, 3, 1, 1])
