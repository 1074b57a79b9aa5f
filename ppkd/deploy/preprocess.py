"""Preparation of a picture for the model: the readers' own transforms, in the order of ``infer_cfg.yml``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppkd.config import build
from ppkd.config.value import Mark, freeze
from ppkd.data.transforms.base import Fixed, Sample
from ppkd.data.transforms.decode import Decode
from ppkd.data.transforms.pad import fill_to
from ppkd.deploy.infer_cfg import InferConfig, Step
from ppkd.utils.errors import ConfigError

_LONGEST = 1 << 14
Picture = Path | str | NDArray[np.uint8]


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

    def __init__(self, config: InferConfig, source: str = "the preprocessing") -> None:
        self.decode = Decode()
        self.steps = [_build_step(step, source) for step in config.preprocess]
        _try_steps(self.steps, source)
        self.least_size = (0, 0) if config.use_dynamic_shape else _target_size(config.preprocess)

    def __call__(self, picture: Picture) -> Prepared:
        """One picture, decoded (if it is a file) and prepared; raises :class:`DataError` naming a broken file."""
        sample = self.decoded(picture)
        decoded = sample["image"]
        for step in self.steps:
            sample = step(sample)
        return Prepared(decoded, sample)

    def decoded(self, picture: Picture) -> Sample:
        """The sample before any step: ``image`` uint8 (H, W, 3); raises :class:`DataError` naming a broken file."""
        return self.decode({"image": picture} if isinstance(picture, np.ndarray) else {"im_file": str(picture)})

    def collate(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.float32]]:
        """The model's inputs; images get zeros at the right and bottom up to the largest or the fixed size."""
        images = [sample["image"] for sample in samples]
        height, width = np.max([self.least_size, *(image.shape[1:] for image in images)], axis=0)
        return {
            "image": np.stack([fill_to(image, height, width) for image in images]).astype(np.float32, copy=False),
            "im_shape": np.stack([sample["im_shape"] for sample in samples]),
            "scale_factor": np.stack([sample["scale_factor"] for sample in samples]),
        }


def _build_step(step: Step, source: str) -> Fixed:
    if not isinstance(step, dict) or not isinstance(step.get("type"), str):
        raise ConfigError(f"{source}: a step of Preprocess is {step!r}: expected {{type: name, settings}}")
    if any(isinstance(side, int) and side > _LONGEST for side in _sides(step)):
        raise ConfigError(f"{source}: {step} asks for sides of more than {_LONGEST} pixels")
    spec = {"name": step["type"], **{key: value for key, value in step.items() if key != "type"}}
    try:
        built: Any = build(freeze({}), freeze(spec, Mark(source)))
    except ConfigError as error:
        if source in str(error):
            raise
        raise ConfigError(f"{source}: {error}") from error
    if not isinstance(built, Fixed):
        raise ConfigError(f"{source}: {step['type']} cannot be part of Preprocess: it is not the same in every run")
    return built


def _sides(step: Step) -> list[Any]:
    size = step.get("target_size")
    return [step.get("stride"), *(size if isinstance(size, list | tuple) else [size])]


def _try_steps(steps: Sequence[Fixed], source: str) -> None:
    """Raise :class:`ConfigError` unless ``steps`` make an input (3, H, W) of a picture."""
    sample: Sample = Decode()({"image": np.zeros((8, 8, 3), np.uint8)})
    try:
        for step in steps:
            sample = step(sample)
        shape = sample["image"].shape
    except Exception as error:  # OpenCV and NumPy raise many kinds
        reason = " ".join(str(error).split())
        raise ConfigError(f"{source}: the steps of Preprocess do not work one after another: {reason}") from error
    if len(shape) != 3 or shape[0] != 3:
        raise ConfigError(f"{source}: the steps of Preprocess make an input of the shape {shape}, expected (3, H, W)")


def _target_size(steps: Sequence[Step]) -> tuple[int, int]:
    """Height and width of a model with a fixed input: what its Resize makes at most; zeros if there is no Resize."""
    for step in steps:
        if step["type"] == "Resize":
            size = step["target_size"]
            return (size, size) if isinstance(size, int) else (size[0], size[1])
    return 0, 0
