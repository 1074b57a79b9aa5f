"""Training targets of dense heads with one prediction per cell."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol, Self

import paddle
from paddle import Tensor

from ppkd.models.assigners.place_targets import PlaceTargets
from ppkd.models.layers.select import take_rows
from ppkd.structures.truth import Truth


class Matches(Protocol):
    """What an assigner says of P cells in each of N images, int64 and bool [N, P]."""

    @property
    def box(self) -> Tensor:
        """Which box a cell answers for, 0 where it answers for none."""

    @property
    def positive(self) -> Tensor:
        """Whether a cell answers for a box."""


@dataclass(frozen=True)
class CellTargets(PlaceTargets):
    """Adds where the P cells are, one place each, and their boxes, of up to M in an image.

    Attributes:
        sizes: how many cells each level has.
        points: the cells' x, y and stride float32 [P, 3], in pixels of the input.
        anchors: their corner boxes float32 [P, 4], in pixels of the input.
        boxes: float32 [N, P, 4], the box that a cell answers for, the anchor itself elsewhere.
        truth: all boxes.
    """

    sizes: tuple[int, ...]
    points: Tensor
    anchors: Tensor
    boxes: Tensor
    truth: Truth

    def levels(self, values: Tensor) -> list[Tensor]:
        """Values [N, P, ...] of all cells, level by level."""
        return paddle.split(values, list(self.sizes), axis=1)


@dataclass(frozen=True)
class RatedTargets(CellTargets):
    """Adds ``rating`` float32 [N, P], what a positive cell's class is to score, 0 elsewhere."""

    rating: Tensor

    @classmethod
    def of(cls, targets: CellTargets, rating: Tensor) -> Self:
        """``targets`` with their ``rating``."""
        return cls(**{field.name: getattr(targets, field.name) for field in fields(targets)}, rating=rating)


def cell_targets(
    points: list[Tensor], anchors: Tensor, truth: Truth, matches: Matches, num_classes: int
) -> CellTargets:
    """Targets of cells at ``points`` float32 [H * W, 3] level by level with corner ``anchors`` float32 [P, 4]."""
    classes = paddle.take_along_axis(truth.labels, matches.box, axis=1)
    return CellTargets(
        sizes=tuple(level.shape[0] for level in points),
        points=paddle.concat(points),
        anchors=anchors,
        labels=paddle.where(matches.positive, classes, paddle.full_like(classes, num_classes)),
        positive=matches.positive.astype("float32"),
        box=matches.box,
        boxes=paddle.where(matches.positive.unsqueeze(-1), take_rows(truth.boxes, matches.box), anchors.unsqueeze(0)),
        truth=truth,
    )
