"""Pad, PadStride, PadBatch and RandomExpand."""

from __future__ import annotations

import numpy as np

from ppkd.config import register
from ppkd.data.pixels import fill_to, fill_to_multiple, next_multiple, on_canvas
from ppkd.data.transforms.base import Fixed, GroupTransform, Sample, Transform, shift_boxes
from ppkd.utils.errors import ConfigError

RIGHT_BOTTOM, CENTRE, LEFT_TOP, OFFSETS = 0, 1, 2, -1
GREY = (127.5, 127.5, 127.5)


@register
class Pad(Fixed):
    """Puts an image (H, W, 3) on a larger canvas of ``fill_value`` (RGB); the result is float32.

    The canvas is ``size`` (height, width or one number), or the next multiple of ``size_divisor``. ``pad_mode`` 0 puts
    the image at the top left, 1 at the centre, 2 at the bottom right, -1 at ``offsets`` (x, y).
    Raises :class:`ConfigError` for an image larger than ``size``.
    """

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        size_divisor: int = 32,
        pad_mode: int = RIGHT_BOTTOM,
        offsets: tuple[int, int] | None = None,
        fill_value: tuple[float, float, float] = GREY,
    ) -> None:
        if pad_mode not in (RIGHT_BOTTOM, CENTRE, LEFT_TOP, OFFSETS):
            raise ConfigError(f"pad_mode is {pad_mode}, expected 0, 1, 2 or -1")
        if pad_mode == OFFSETS and offsets is None:
            raise ConfigError("pad_mode -1 needs offsets: [x, y]")
        self.size = (size, size) if isinstance(size, int) else size
        self.size_divisor = size_divisor
        self.pad_mode = pad_mode
        self.offsets = offsets
        self.fill_value = fill_value

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """The sample on its canvas, boxes shifted with it."""
        height, width = sample["image"].shape[:2]
        size = self.size or (next_multiple(height, self.size_divisor), next_multiple(width, self.size_divisor))
        if size[0] < height or size[1] < width:
            raise ConfigError(
                f"Pad.size {list(size)} is smaller than an image of {height} x {width}; resize before Pad"
            )
        return place(sample, size, self._offset(size[0] - height, size[1] - width), self.fill_value)

    def _offset(self, spare_height: int, spare_width: int) -> tuple[int, int]:
        if self.offsets is not None and self.pad_mode == OFFSETS:
            x, y = self.offsets
            return y, x
        if self.pad_mode == CENTRE:
            return spare_height // 2, spare_width // 2
        return (spare_height, spare_width) if self.pad_mode == LEFT_TOP else (0, 0)


@register
class RandomExpand(Transform):
    """Zooms out: puts the image somewhere on a canvas up to ``ratio`` times as high and wide, of ``fill_value`` (RGB).

    Liu et al., "SSD: Single Shot MultiBox Detector", arXiv:1512.02325. ``prob`` is the probability of *leaving the
    image as it is*.
    """

    def __init__(
        self, ratio: float = 4.0, prob: float = 0.5, fill_value: float | tuple[float, float, float] = GREY
    ) -> None:
        if ratio <= 1.01:
            raise ConfigError(f"ratio is {ratio}, expected more than 1.01")
        self.ratio = ratio
        self.prob = prob
        self.fill_value = (fill_value,) * 3 if isinstance(fill_value, float | int) else fill_value

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample on its canvas, or as it was."""
        # PaddleDetection's prob is the probability of not expanding.
        if rng.uniform() < self.prob:
            return sample
        height, width = sample["image"].shape[:2]
        ratio = rng.uniform(1, self.ratio)
        size = (int(height * ratio), int(width * ratio))
        if size[0] <= height or size[1] <= width:
            return sample
        offset = (int(rng.integers(size[0] - height)), int(rng.integers(size[1] - width)))
        sample["im_shape"] = np.array(size, np.float32)
        return place(sample, size, offset, self.fill_value)


@register
class PadStride(Fixed):
    """Zeros to the right and bottom of an image (3, H, W), up to multiples of ``stride``; 0 leaves it."""

    def __init__(self, stride: int = 0) -> None:
        self.stride = stride

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """The sample with a padded image."""
        sample["image"] = fill_to_multiple(sample["image"], self.stride)
        return sample


@register(without_effect=("pad_gt", "use_padded_im_info"))
class PadBatch(GroupTransform):
    """Zeros to the right and bottom of images (3, H, W), up to the batch's largest, rounded up to ``pad_to_stride``."""

    def __init__(self, pad_to_stride: int = 0) -> None:
        self.pad_to_stride = pad_to_stride

    def __call__(self, samples: list[Sample], rng: np.random.Generator) -> list[Sample]:
        """The samples with images of one size."""
        shapes = [sample["image"].shape[1:] for sample in samples]
        height, width = (next_multiple(max(sides), self.pad_to_stride) for sides in zip(*shapes, strict=True))
        for sample in samples:
            sample["image"] = fill_to(sample["image"], height, width)
        return samples


def place(sample: Sample, size: tuple[int, int], offset: tuple[int, int], fill_value: tuple[float, ...]) -> Sample:
    """The image of ``sample`` at ``offset`` (y, x) on a canvas of ``size`` (height, width), boxes shifted, float32."""
    y, x = offset
    sample["image"] = on_canvas(sample["image"], size, offset, fill_value)
    return shift_boxes(sample, x, y)
