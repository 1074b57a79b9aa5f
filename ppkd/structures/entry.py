"""What one named output of a detector is: its role, its layout and how its numbers are to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Self

Role = Literal["feature", "class", "box", "quality", "mask"]
Kind = Literal["grid", "rows"]
Activation = Literal["none", "sigmoid", "softmax"]
Coding = Literal["none", "deltas", "distances", "distribution", "corners", "cxcywh", "yolo"]

NO_STRIDE = 0
"""The stride of rows, which lie on no grid."""


@dataclass(frozen=True)
class LevelSpec:
    """One pyramid level: ``channels`` per anchor, ``stride`` in pixels of the network's input, ``anchors`` per cell.

    A stage of rows (proposals, queries of a decoder layer) has the ``stride`` :data:`NO_STRIDE`.
    """

    channels: int
    stride: int
    anchors: int = 1


@dataclass(frozen=True)
class Basis:
    """What numbers of a head are relative to, besides the cells: only numbers of one basis can be compared.

    Attributes:
        offset: how far to the right of and below its cell's upper left corner a place lies, in strides.
        anchors: widths and heights of each level's anchors in pixels, in the record's order; none where boxes are
            relative to points.
        weights: what multiplies the numbers: those of a coder of box offsets, YOLOv3's ``scale_x_y``.
    """

    offset: float = 0.0
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    weights: tuple[float, ...] = ()

    def at(self, level: int) -> Self:
        """The basis of the level of that position alone."""
        return replace(self, anchors=self.anchors[level : level + 1])

    def __str__(self) -> str:
        sides = ", ".join(f"{width:g} x {height:g}" for level in self.anchors for width, height in level)
        anchors = f"anchors of {sides} pixels" if sides else "points"
        weights = f", weights {', '.join(f'{weight:g}' for weight in self.weights)}" if self.weights else ""
        return f"{anchors} {self.offset:g} strides from the cells' corners{weights}"


@dataclass(frozen=True)
class Entry:
    """One named output of a detector.

    Attributes:
        role: what the numbers are about: features, classes, boxes, the quality of boxes (objectness, centreness,
            a predicted overlap), masks. Only features may have other channels in another detector.
        kind: ``grid``, one tensor per stride, finest first: features [N, C, H, W] of a neck, [N, A, K, H, W] of a head;
            or ``rows``, one tensor [N, R, ...] per stage: proposals, or the queries of each decoder layer.
        levels: the levels of a grid, the stages of rows.
        activation: what makes probabilities of classes and qualities in 0..1. ``softmax`` has the background last.
        coding: of boxes: ``deltas`` of anchors or proposals, ``distances`` to the sides in strides, ``distribution``
            of these distances (logits, sides l, t, r, b, bins fastest), ``corners`` in pixels of the network's input,
            ``cxcywh`` in shares of it, ``yolo``: YOLOv3's raw x, y, w, h.
        basis: what the numbers are relative to, where that has to be the same for two detectors to be compared.
    """

    role: Role
    kind: Kind
    levels: tuple[LevelSpec, ...]
    activation: Activation = "none"
    coding: Coding = "none"
    basis: Basis | None = None

    def __post_init__(self) -> None:
        if self.kind == "grid" and any(one.stride >= two.stride for one, two in pairwise(self.levels)):
            raise ValueError(f"the levels of a grid are finest first, not of strides {list(self.strides)}")

    @classmethod
    def rows(
        cls,
        role: Role,
        channels: int,
        *,
        stages: int = 1,
        activation: Activation = "none",
        coding: Coding = "none",
        basis: Basis | None = None,
    ) -> Entry:
        """Rows of ``channels`` numbers in as many ``stages``."""
        return cls(role, "rows", (LevelSpec(channels, NO_STRIDE),) * stages, activation, coding, basis)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of the levels."""
        return tuple(level.stride for level in self.levels)


Entries = Mapping[str, Entry]
