"""Choices of cells that losses level by level share: the settings, and the masks that follow from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from paddle import Tensor

from ppkd.distill.cells.anchors import centred_anchors
from ppkd.distill.cells.boxes import cells_inside, cells_of_anchors
from ppkd.distill.cells.levels import box_levels, second_level_side
from ppkd.structures.truth import Truth


class BySize(ABC):
    """Cells by boxes, each on one level alone, which its size decides: the finest for the smallest."""

    second_level_side: float | None = None
    by_size: bool = True

    def masks(self, truth: Truth, levels: Sequence[tuple[int, int, int]]) -> list[Tensor]:
        """1 in the chosen cells, else 0: float32 [N, H, W] for each of ``levels``, stride, height and width."""
        second = self.second_level_side or second_level_side(*levels[0])
        level = box_levels(truth.boxes, len(levels), second=second)
        chosen = [truth.real & (level == rank) if self.by_size else truth.real for rank in range(len(levels))]
        return [self.mask(truth.boxes, boxes, *size) for boxes, size in zip(chosen, levels, strict=True)]

    @abstractmethod
    def mask(self, boxes: Tensor, chosen: Tensor, stride: int, height: int, width: int) -> Tensor:
        """The mask float32 [N, height, width] of one level for ``boxes`` [N, M, 4], ``chosen`` bool [N, M]."""


@dataclass(frozen=True)
class InsideCells(BySize):
    """The cells inside of boxes.

    Attributes:
        second_level_side: side in pixels of the boxes that begin the second level; by default
            :func:`ppkd.distill.cells.levels.second_level_side` of the finest compared level. The published code has 56.
    """

    second_level_side: float | None = None

    def mask(self, boxes: Tensor, chosen: Tensor, stride: int, height: int, width: int) -> Tensor:
        """1 inside of the chosen boxes."""
        return cells_inside(boxes, chosen, stride, height, width)


@dataclass(frozen=True)
class AnchorCells(BySize):
    """The cells with an anchor that overlaps a box more than ``threshold`` times as much as the level's best does.

    Attributes:
        anchor_scales: sides of a cell's anchors in strides.
        aspect_ratios: height / width of the anchors.
        threshold: share of the best overlap.
        by_size: a box is for one level alone, which its size decides; else it is for all, as the paper of FGFI has it
            for its only level.
        second_level_side: side in pixels of the boxes that begin the second level, as :class:`InsideCells` has it.
    """

    anchor_scales: tuple[float, ...] = (8.0,)
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    threshold: float = 0.5
    by_size: bool = True
    second_level_side: float | None = None

    def mask(self, boxes: Tensor, chosen: Tensor, stride: int, height: int, width: int) -> Tensor:
        """1 in the cells whose anchors are near the chosen boxes."""
        anchors = centred_anchors(stride, self.anchor_scales, self.aspect_ratios)
        return cells_of_anchors(boxes, chosen, anchors, stride, height, width, threshold=self.threshold)
