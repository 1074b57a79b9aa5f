"""Resize, RandomResize and BatchRandomResize."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ppkd.config import register
from ppkd.data.pixels import resize
from ppkd.data.transforms.base import Fixed, GroupTransform, Sample, Transform, clip_boxes, scale_boxes
from ppkd.utils.errors import ConfigError

INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_LANCZOS4)

Size = int | tuple[int, int]


@register
class Resize(Fixed):
    """Resizes the image to ``target_size`` (height, width; one number means a square) and its boxes with it.

    With ``keep_ratio`` the short side becomes the smaller number unless the long side would exceed the larger one.
    ``interp`` is OpenCV's number: 0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos. Sets ``im_shape`` to the new size
    and multiplies ``scale_factor`` (y, x) by the scales.
    """

    def __init__(self, target_size: Size, keep_ratio: bool = True, interp: int = cv2.INTER_LINEAR) -> None:
        self.target_size = check_size(target_size)
        self.keep_ratio = keep_ratio
        self.interp = check_interpolation(interp)

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """The sample at its new size."""
        image, y, x = resize(sample["image"], self.target_size, keep_ratio=self.keep_ratio, interp=self.interp)
        height, width = image.shape[:2]
        sample["image"] = image
        sample["im_shape"] = np.array([height, width], np.float32)
        sample["scale_factor"] = sample.get("scale_factor", 1) * np.array([y, x], np.float32)
        return clip_boxes(scale_boxes(sample, x, y), height, width)


@register
class RandomResize(Transform):
    """Resizes each image to a size of its own, drawn from ``target_size``.

    ``random_size`` draws one of the listed sizes. ``random_range`` draws the short side between those of
    ``[[shortest, long], [longest, long]]``. ``random_interp`` draws the interpolation too.
    """

    def __init__(
        self,
        target_size: int | Sequence[Size],
        keep_ratio: bool = True,
        interp: int = cv2.INTER_LINEAR,
        random_range: bool = False,
        random_size: bool = True,
        random_interp: bool = False,
    ) -> None:
        self.sizes = size_choices(target_size, random_size or random_range)
        if random_range and len(self.sizes) != 2:
            raise ConfigError("random_range needs target_size [[shortest, long], [longest, long]]")
        self.keep_ratio = keep_ratio
        self.interp = check_interpolation(interp)
        self.random_range = random_range
        self.random_interp = random_interp

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample at its new size."""
        return self.draw(rng)(sample)

    @property
    def varies(self) -> bool:
        """Whether not all draws are alike."""
        return self.random_interp or self.random_range or len(self.sizes) > 1

    def draw(self, rng: np.random.Generator) -> Resize:
        """One of the resizings this transform may do."""
        if self.random_range:
            (low, first_long), (high, second_long) = self.sizes
            size = (int(rng.integers(min(low, high), max(low, high) + 1)), max(first_long, second_long))
        else:
            size = self.sizes[rng.integers(len(self.sizes))]
        interp = INTERPOLATIONS[rng.integers(len(INTERPOLATIONS))] if self.random_interp else self.interp
        return Resize(size, self.keep_ratio, interp)


@register
class BatchRandomResize(GroupTransform):
    """Resizes all images of a batch to one size, drawn from ``target_size`` for the batch; so too ``random_interp``."""

    def __init__(
        self,
        target_size: int | Sequence[Size],
        keep_ratio: bool = True,
        interp: int = cv2.INTER_NEAREST,
        random_size: bool = True,
        random_interp: bool = False,
    ) -> None:
        self.single = RandomResize(
            target_size, keep_ratio, interp, random_size=random_size, random_interp=random_interp
        )

    def __call__(self, samples: list[Sample], rng: np.random.Generator) -> list[Sample]:
        """The samples at their new size."""
        drawn = self.single.draw(rng)
        return [drawn(sample) for sample in samples]


def check_size(size: Size) -> tuple[int, int]:
    """``size`` as height and width; raises :class:`ConfigError` unless both are positive."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ConfigError(f"target_size is {size}, expected positive numbers of pixels")
    return height, width


def check_interpolation(interp: int) -> int:
    """``interp`` if OpenCV's resize knows it; raises :class:`ConfigError` otherwise."""
    if interp not in INTERPOLATIONS:
        raise ConfigError(f"interp is {interp}, expected one of {sorted(INTERPOLATIONS)}")
    return interp


def size_choices(target_size: int | Sequence[Size], several: bool) -> list[tuple[int, int]]:
    """The sizes to draw from: the items of a list if there are ``several``, else the one size it is."""
    if several and not isinstance(target_size, int):
        return [check_size(size) for size in target_size]
    if several:
        raise ConfigError(f"target_size is {target_size}, expected a list of sizes to draw from")
    if isinstance(target_size, int):
        return [check_size(target_size)]
    match list(target_size):
        case [int() as height, int() as width]:
            return [check_size((height, width))]
    raise ConfigError(f"target_size is {target_size}, expected one number or [height, width]")
