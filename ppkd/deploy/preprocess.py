"""Preparation of a picture for the model: what the readers' transforms do to an image, as the model states it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ppkd.data.image import read_image
from ppkd.data.pixels import fill_to
from ppkd.data.transforms.base import MIRRORED
from ppkd.deploy.steps import Sample, Step, build_step, target_size
from ppkd.utils.errors import ConfigError

Picture = Path | str | NDArray[np.uint8]


class Described(Protocol):
    """What a description of a model says of its input."""

    @property
    def preprocess(self) -> Sequence[Mapping[str, Any]]:
        """The steps after decoding, ``{type: name, **settings}``."""
        ...

    @property
    def use_dynamic_shape(self) -> bool:
        """Whether height and width of the input are open."""
        ...


@dataclass(frozen=True)
class Prepared:
    """``picture`` uint8 (H, W, 3) RGB as it was decoded, and the ``sample`` made of it."""

    picture: NDArray[np.uint8]
    sample: Sample


class Preprocess:
    """Turns files or RGB arrays into samples and samples into batches.

    Raises :class:`ConfigError` for a step that is unknown, has wrong settings, or is random, and for steps that do not
    make a network's input of a picture.
    """

    def __init__(self, config: Described, source: str = "the preprocessing") -> None:
        self.steps = [build_step(step, source) for step in config.preprocess]
        _try_steps(self.steps, source)
        self.least_size = (0, 0) if config.use_dynamic_shape else _target_size(config.preprocess)

    def __call__(self, picture: Picture) -> Prepared:
        """One picture, decoded (if it is a file) and prepared; raises :class:`DataError` naming a broken file."""
        sample = self.decoded(picture)
        decoded = sample["image"]
        prepared, *views = _run(self.steps, sample)
        return Prepared(decoded, {**prepared, "views": views} if views else prepared)

    def decoded(self, picture: Picture) -> Sample:
        """The sample before any step: ``image`` uint8 (H, W, 3); raises :class:`DataError` naming a broken file."""
        return _sample(picture if isinstance(picture, np.ndarray) else read_image(picture))

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """The model's inputs; images get zeros at the right and bottom up to the largest or the fixed size.

        Where samples have ``views``, their inputs stand under that name, one batch for each.
        """
        views = zip(*(sample.get("views", ()) for sample in samples), strict=True)
        further = [{**self._collate(view), MIRRORED: MIRRORED in view[0]} for view in views]
        return {**self._collate(samples), **({"views": further} if further else {})}

    def _collate(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.float32]]:
        images = [sample["image"] for sample in samples]
        height, width = np.max([self.least_size, *(image.shape[1:] for image in images)], axis=0)
        return {
            "image": np.stack([fill_to(image, height, width) for image in images]).astype(np.float32, copy=False),
            "im_shape": np.stack([sample["im_shape"] for sample in samples]),
            "scale_factor": np.stack([sample["scale_factor"] for sample in samples]),
        }


def _sample(image: NDArray[np.uint8]) -> Sample:
    shape = np.array(image.shape[:2], np.float32)
    return {"image": image, "im_shape": shape, "scale_factor": np.ones(2, np.float32)}


def _run(steps: Sequence[Step], sample: Sample) -> list[Sample]:
    """``sample`` after all ``steps``, in all its views."""
    views = [sample]
    for step in steps:
        views = [made for view in views for made in step(view)]
    return views


def _try_steps(steps: Sequence[Step], source: str) -> None:
    """Raise :class:`ConfigError` unless ``steps`` make an input (3, H, W) of a picture."""
    sample = _sample(np.zeros((8, 8, 3), np.uint8))
    try:
        shape = _run(steps, sample)[0]["image"].shape
    except Exception as error:  # OpenCV and NumPy raise many kinds
        reason = " ".join(str(error).split())
        raise ConfigError(f"{source}: the steps of Preprocess do not work one after another: {reason}") from error
    if len(shape) != 3 or shape[0] != 3:
        raise ConfigError(f"{source}: the steps of Preprocess make an input of the shape {shape}, expected (3, H, W)")


def _target_size(steps: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Height and width of a model with a fixed input: what its Resize makes at most; zeros if there is no Resize."""
    for step in steps:
        if step["type"] == "Resize":
            return target_size(step["target_size"])
    return 0, 0
