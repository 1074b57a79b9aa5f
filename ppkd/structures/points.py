"""Where queries of a decoder start, so that another decoder can be asked at the same places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paddle import Tensor


@dataclass(frozen=True)
class Points:
    """Q places for each image.

    Attributes:
        boxes: float32 [N, Q, 4], cx, cy, w, h in shares of the network's input.
        cells: int64 [N, Q], the cells of the memory that the queries were made of, level by level and row by row;
            None where only the boxes are known.
    """

    boxes: Tensor
    cells: Tensor | None = None

    def detach(self) -> Points:
        """The same places, which get no gradient."""
        return Points(self.boxes.detach(), self.cells)
