"""Records: the raw results of a detector, one tensor per pyramid level, before any decoding.

Record classes nest, so what a detector offers to a loss *is* its record type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from paddle import Tensor


@dataclass(frozen=True)
class Record:
    """Outputs of the neck, float32 [N, C, H, W] per level."""

    neck: list[Tensor]

    @classmethod
    def entries(cls) -> tuple[str, ...]:
        """Names of what this record holds, base entries first."""
        return tuple(field.name for field in fields(cls))

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The record with ``function`` applied to every tensor."""
        return type(self)(**{name: [function(level) for level in getattr(self, name)] for name in self.entries()})

    def images(self, index: Tensor) -> Self:
        """The record of the images at ``index``, int64 (M,), in that order."""
        return self.map(lambda level: level.index_select(index, axis=0))

    def levels(self, positions: Sequence[int]) -> Self:
        """The record of the pyramid levels at ``positions``, in that order, for records of equally many levels."""
        return type(self)(**{name: [getattr(self, name)[i] for i in positions] for name in self.entries()})


@dataclass(frozen=True)
class DenseRecord(Record):
    """Adds raw class logits, float32 [N, A, C, H, W] per level (A anchors per cell)."""

    cls_logits: list[Tensor]


@dataclass(frozen=True)
class BoxDeltaRecord(DenseRecord):
    """Adds raw offsets dx, dy, dw, dh of the anchors, float32 [N, A, 4, H, W] per level."""

    box_deltas: list[Tensor]


@dataclass(frozen=True)
class DistributionRecord(DenseRecord):
    """Adds logits of the distances to the sides l, t, r, b, float32 [N, 1, 4 * (reg_max + 1), H, W], bins fastest."""

    box_dist: list[Tensor]


@dataclass(frozen=True)
class YOLORecord(DenseRecord):
    """Adds YOLOv3's raw objectness [N, A, 1, H, W] and box numbers x, y, w, h [N, A, 4, H, W] per level."""

    objectness: list[Tensor]
    box_xywh: list[Tensor]
