"""What one named output of a detector is: its role, its layout and how its numbers are to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

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
    """

    role: Role
    kind: Kind
    levels: tuple[LevelSpec, ...]
    activation: Activation = "none"
    coding: Coding = "none"

    def __post_init__(self) -> None:
        if self.kind == "grid" and any(one.stride >= two.stride for one, two in pairwise(self.levels)):
            raise ValueError(f"the levels of a grid are finest first, not of strides {list(self.strides)}")

    @classmethod
    def rows(
        cls, role: Role, channels: int, *, stages: int = 1, activation: Activation = "none", coding: Coding = "none"
    ) -> Entry:
        """Rows of ``channels`` numbers in as many ``stages``."""
        return cls(role, "rows", (LevelSpec(channels, NO_STRIDE),) * stages, activation, coding)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of the levels."""
        return tuple(level.stride for level in self.levels)


Entries = Mapping[str, Entry]
