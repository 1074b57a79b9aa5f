"""What transforms do to an image, without boxes and settings: also the preprocessing of models that are deployed."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def resize(
    image: np.ndarray, target: tuple[int, int], *, keep_ratio: bool, interp: int
) -> tuple[np.ndarray, float, float]:
    """``image`` (H, W, 3) at the size ``target`` (height, width), and the scales y and x.

    With ``keep_ratio`` the short side becomes the smaller number unless the long side would exceed the larger one.
    """
    y, x = _scales(image.shape[0], image.shape[1], target, keep_ratio)
    return cv2.resize(image, None, fx=x, fy=y, interpolation=interp), y, x


def _scales(height: int, width: int, target: tuple[int, int], keep_ratio: bool) -> tuple[float, float]:
    if not keep_ratio:
        return target[0] / height, target[1] / width
    scale = min(min(target) / min(height, width), max(target) / max(height, width))
    # A very long image keeps at least one pixel of its short side.
    scale = max(scale, 1 / min(height, width))
    return scale, scale


def normalising(mean: Sequence[float], std: Sequence[float], *, is_scale: bool) -> np.ndarray:
    """The map float32 (3, 4) for :func:`normalise`: over 255 if ``is_scale``, then (x - ``mean``) / ``std``."""
    slope = (1 / 255 if is_scale else 1.0) / np.array(std)
    return np.column_stack([np.diag(slope), -np.array(mean) / np.array(std)]).astype(np.float32)


def normalise(image: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """``image`` (H, W, 3) as float32, its channels mapped by :func:`normalising`."""
    return cv2.transform(image.astype(np.float32, copy=False), factors)


def channels_first(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) to (3, H, W)."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def next_multiple(length: int, divisor: int) -> int:
    """The smallest multiple of ``divisor`` that is not below ``length``; ``length`` if there is no divisor."""
    return -(-length // divisor) * divisor if divisor > 0 else length


def fill_to(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """``image`` (C, H, W) with zeros to the right and bottom, (C, height, width)."""
    down, right = height - image.shape[1], width - image.shape[2]
    return np.pad(image, ((0, 0), (0, down), (0, right))) if down or right else image


def fill_to_multiple(image: np.ndarray, divisor: int) -> np.ndarray:
    """``image`` (C, H, W) with zeros to the right and bottom, up to multiples of ``divisor``; 0 leaves it."""
    height, width = (next_multiple(side, divisor) for side in image.shape[1:])
    return fill_to(image, height, width)


def on_canvas(
    image: np.ndarray, size: tuple[int, int], offset: tuple[int, int], fill_value: tuple[float, ...]
) -> np.ndarray:
    """``image`` (H, W, 3) as float32 at ``offset`` (y, x) on a canvas of ``size`` (height, width)."""
    y, x = offset
    down, right = size[0] - image.shape[0] - y, size[1] - image.shape[1] - x
    image = image.astype(np.float32, copy=False)
    return cv2.copyMakeBorder(image, y, down, x, right, cv2.BORDER_CONSTANT, value=fill_value)


def denormalise(image: np.ndarray, factors: np.ndarray | None) -> np.ndarray:
    """(C, H, W) as the network gets it to RGB uint8 (H, W, 3): undoes :func:`normalise` by the same ``factors``."""
    plain = image.transpose(1, 2, 0)
    if factors is not None:
        plain = (plain - factors[:, 3]) @ np.linalg.inv(factors[:, :3]).T
    return np.clip(np.rint(plain), 0, 255).astype(np.uint8)
