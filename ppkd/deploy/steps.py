"""The steps of ``Preprocess``: readers' transforms of an image alone, by their names and settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from ppkd.data import pixels
from ppkd.data.transforms.base import MIRRORED
from ppkd.utils.errors import ConfigError, nearest

Sample = dict[str, Any]
"""``image``, ``im_shape`` and ``scale_factor`` as in the readers."""
Step = Callable[[Sample], list[Sample]]
"""Gives the changed sample, or several views of it."""

INTERPOLATIONS = range(5)
_LONGEST = 1 << 14
_GREY = (127.5, 127.5, 127.5)


def build_step(step: Mapping[str, Any], source: str) -> Step:
    """The function that ``step``, ``{type: name, **settings}``, means.

    Raises :class:`ConfigError` naming ``source`` for an unknown name, other settings than it has, or senseless ones.
    """
    if not isinstance(step, dict) or not isinstance(step.get("type"), str):
        raise ConfigError(f"{source}: a step of Preprocess is {step!r}: expected {{type: name, settings}}")
    name, settings = step["type"], {str(key): value for key, value in step.items() if key != "type"}
    if name not in STEPS:
        raise ConfigError(
            f"{source}: {name} cannot be part of Preprocess: it is not the same in every run, or not known; known are "
            f"{', '.join(STEPS)}{nearest(name, STEPS)}"
        )
    known = list(inspect.signature(STEPS[name]).parameters)
    for key in settings:
        if key not in known:
            raise ConfigError(f"{source}: {name} has no setting '{key}'; it has {', '.join(known) or 'none'}")
    try:
        return STEPS[name](**settings)
    except ConfigError as error:
        raise ConfigError(f"{source}: {name}: {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{source}: the settings of {name} make no sense: {' '.join(str(error).split())}") from error


def target_size(size: int | Sequence[int]) -> tuple[int, int]:
    """``size`` as height and width; raises :class:`ConfigError` unless both are whole and sensible."""
    pair = [size, size] if isinstance(size, int) else list(size)
    if len(pair) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) for side in pair):
        raise ConfigError(f"target_size is {size}, expected one number or [height, width]")
    if not all(0 < side <= _LONGEST for side in pair):
        raise ConfigError(f"target_size is {size}: expected 1 to {_LONGEST} pixels, sides of more are refused")
    return pair[0], pair[1]


def _resize(target_size: int | Sequence[int], keep_ratio: bool = True, interp: int = 1) -> Step:
    target = _size(target_size)
    if interp not in INTERPOLATIONS:
        raise ConfigError(f"interp is {interp}, expected one of {[*INTERPOLATIONS]}")

    def step(sample: Sample) -> list[Sample]:
        image, y, x = pixels.resize(sample["image"], target, keep_ratio=bool(keep_ratio), interp=interp)
        shape = np.array(image.shape[:2], np.float32)
        scale = sample["scale_factor"] * np.array([y, x], np.float32)
        return [{**sample, "image": image, "im_shape": shape, "scale_factor": scale}]

    return step


_size = target_size


def _normalise(
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
    is_scale: bool = True,
    norm_type: str = "mean_std",
) -> Step:
    if len(mean) != 3 or len(std) != 3 or 0 in std or norm_type not in ("mean_std", "none"):
        raise ConfigError(f"mean and std need three numbers each, std none of them 0, not {mean} and {std}")
    plain = norm_type == "none"
    factors = pixels.normalising((0, 0, 0) if plain else mean, (1, 1, 1) if plain else std, is_scale=bool(is_scale))
    return lambda sample: [{**sample, "image": pixels.normalise(sample["image"], factors)}]


def _permute() -> Step:
    return lambda sample: [{**sample, "image": pixels.channels_first(sample["image"])}]


def _pad_stride(stride: int = 0) -> Step:
    if not isinstance(stride, int) or stride > _LONGEST:
        raise ConfigError(f"stride is {stride}: expected at most {_LONGEST}, sides of more are refused")
    return lambda sample: [{**sample, "image": pixels.fill_to_multiple(sample["image"], stride)}]


def _pad(
    size: int | Sequence[int] | None = None,
    size_divisor: int = 32,
    pad_mode: int = 0,
    fill_value: Sequence[float] = _GREY,
) -> Step:
    if pad_mode != 0:
        raise ConfigError(f"pad_mode is {pad_mode}: only 0, the picture at the top left, keeps boxes in place")
    fixed = None if size is None else _size(size)

    def step(sample: Sample) -> list[Sample]:
        height, width = sample["image"].shape[:2]
        canvas = fixed or (pixels.next_multiple(height, size_divisor), pixels.next_multiple(width, size_divisor))
        if canvas[0] < height or canvas[1] < width:
            raise ConfigError(f"Pad.size {list(canvas)} is smaller than an image of {height} x {width}; resize before")
        return [{**sample, "image": pixels.on_canvas(sample["image"], canvas, (0, 0), tuple(fill_value))}]

    return step


def _several_sizes(
    origin_target_size: int | Sequence[int] = (800, 1333),
    target_size: Sequence[int | Sequence[int]] = (),
    interp: int = 1,
    use_flip: bool = True,
) -> Step:
    first, *others = [_resize(size, interp=interp) for size in (origin_target_size, *target_size)]

    def step(sample: Sample) -> list[Sample]:
        [plain] = first(sample)
        mirrored = [{**plain, "image": cv2.flip(plain["image"], 1), MIRRORED: True}] if use_flip else []
        return [plain, *mirrored, *(made for resize in others for made in resize(sample))]

    return step


STEPS: dict[str, Callable[..., Step]] = {
    "Resize": _resize,
    "NormalizeImage": _normalise,
    "Permute": _permute,
    "PadStride": _pad_stride,
    "Pad": _pad,
    "MultiscaleTestResize": _several_sizes,
}
