"""The slices of a picture whose objects are small in it (SAHI, arXiv:2202.06934)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def windows(picture: tuple[int, int], size: tuple[int, int], overlap: tuple[float, float]) -> NDArray[np.intp]:
    """(n, 4) = x1, y1, x2, y2 of the slices of a picture, row by row; all arguments are height, then width.

    ``overlap`` is the share of a slice that the next one has too. The last slices end at the picture's border and
    overlap more; a side shorter than a slice is not cut.
    """
    top, left = (_starts(*sides) for sides in zip(picture, size, overlap, strict=True))
    y, x = (grid.reshape(-1) for grid in np.meshgrid(top, left, indexing="ij"))
    return np.stack([x, y, np.minimum(x + size[1], picture[1]), np.minimum(y + size[0], picture[0])], axis=1)


def _starts(side: int, size: int, overlap: float) -> NDArray[np.intp]:
    """Where the slices of a side begin."""
    step = size - int(overlap * size)
    count = 1 + max(0, -(-(side - size) // step))
    return np.minimum(np.arange(count) * step, max(0, side - size))
