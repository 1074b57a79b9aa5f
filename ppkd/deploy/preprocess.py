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

Picture = Path | str | NDArray[np.uint8]


@dataclass(frozen=True)
class Prepared:
    """``picture`` uint8 (H, W, 3) RGB as it was decoded, and the ``sample`` made of it."""

    picture: NDArray[np.uint8]
    sample: Sample


class Preprocess:
    """Turns files or RGB arrays into samples and samples into batches.

    Raises :class:`ConfigError` for a step that is unknown, has wrong settings, or is random.
    """

    def __init__(self, config: InferConfig, source: str = "the preprocessing") -> None:
        self.decode = Decode()
        self.steps = [_build_step(step, source) for step in config.preprocess]
        self.least_size = (0, 0) if config.use_dynamic_shape else _target_size(config.preprocess)

    def __call__(self, picture: Picture) -> Prepared:
        """One picture, decoded (if it is a file) and prepared; raises :class:`DataError` naming a broken file."""
        sample: Sample = {"image": picture} if isinstance(picture, np.ndarray) else {"im_file": str(picture)}
        sample = self.decode(sample)
        decoded = sample["image"]
        for step in self.steps:
            sample = step(sample)
        return Prepared(decoded, sample)

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
    spec = {"name": step["type"], **{key: value for key, value in step.items() if key != "type"}}
    built: Any = build(freeze({}), freeze(spec, Mark(source)))
    if not isinstance(built, Fixed):
        raise ConfigError(f"{source}: {step['type']} cannot be part of Preprocess: it is not the same in every run")
    return built


def _target_size(steps: Sequence[Step]) -> tuple[int, int]:
    """Height and width of a model with a fixed input: what its Resize makes at most; zeros if there is no Resize."""
    for step in steps:
        if step["type"] == "Resize":
            size = step["target_size"]
            return (size, size) if isinstance(size, int) else (size[0], size[1])
    return 0, 0
