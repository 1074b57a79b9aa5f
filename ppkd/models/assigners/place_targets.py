"""What training targets have in common that give sets of places to boxes."""

from __future__ import annotations

from dataclasses import dataclass

from paddle import Tensor


@dataclass(frozen=True)
class PlaceTargets:
    """For P places of a grid, level after level, each in the order rows, columns, anchors of the cell.

    Attributes:
        labels: class int64 [N, P], C for background, -1 for places to ignore.
        positive: float32 [N, P], 1 where a place answers for a box.
        box: int64 [N, P], for which one of the image's boxes; without a meaning elsewhere.
    """

    labels: Tensor
    positive: Tensor
    box: Tensor
