"""Regions of a pyramid's cells around the boxes of a batch, in which localisation distillation compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import paddle
from paddle import Tensor

from ppkd.distill.cells.anchors import square_anchors
from ppkd.distill.side import Side
from ppkd.models.assigners.atss_assigner import ATSSAssigner
from ppkd.models.assigners.cell_targets import CellTargets
from ppkd.structures.boxes import area, encode_distances, pairwise_iou, xyxy_to_cxcywh
from ppkd.structures.truth import Truth


@dataclass(frozen=True)
class RegionFinder:
    """How regions are found.

    Every cell has one square anchor, centred on its upper left corner. The defaults are those of the published numbers
    of LD (Zheng et al., arXiv 2102.12252 and 2204.05957).

    Attributes:
        student_targets: take the anchors and the main region from the student's own assignment, as published, where it
            has one anchor per cell of the levels. ``anchor_scale`` and ``deviation`` are for students that have not.
        anchor_scale: side of an anchor in strides.
        deviation: ``sample`` or ``population``, the spread of the candidates' overlaps in the threshold of the main
            region; PaddleDetection has the latter. The valuable region uses the sample deviation in both.
        topk: candidates of a box on each level, the anchors with the nearest centres.
        gamma: the valuable region starts at so much of the threshold.
        overlap: what of an anchor and a box is reduced by the distance of their centres for the valuable region. Papers
            say ``iou``; the published code divides the intersection by the anchor's area, ``iof``.
        exclude_main: leave the main region out of the valuable one, as published for RetinaNet but not for GFL.
    """

    student_targets: bool = True
    anchor_scale: float = 8.0
    deviation: Literal["sample", "population"] = "sample"
    topk: int = 9
    gamma: float = 0.25
    overlap: Literal["iof", "iou"] = "iof"
    exclude_main: bool = False

    def __call__(self, sizes: Sequence[Sequence[int]], strides: Sequence[int], student: Side, truth: Truth) -> Regions:
        """The regions around the boxes of ``truth`` on the student's levels.

        ``sizes`` are the levels' heights and widths in cells, ``strides`` are in pixels; the targets of ``student`` are
        those for ``truth``.
        """
        targets, cells = student.targets, tuple(height * width for height, width in sizes)
        if self.student_targets and isinstance(targets, CellTargets) and targets.sizes == cells:
            return Regions(self, targets.anchors, targets.sizes, truth, targets.positive > 0)
        anchors = paddle.concat(square_anchors(sizes, strides, self.anchor_scale))
        assigner = ATSSAssigner(topk=self.topk, deviation=self.deviation)
        return Regions(self, anchors, cells, truth, assigner(anchors, cells, truth).positive)


@dataclass(frozen=True)
class Regions:
    """The regions of N images on a pyramid of P cells; every method returns one tensor [N, H * W] per level.

    An image without boxes has empty regions.

    Attributes:
        finder: the settings.
        anchors: corner boxes float32 [P, 4] in pixels, one for each cell.
        counts: how many cells each level has.
        truth: the boxes.
        positive: bool [N, P], the cells that are assigned to a box.
    """

    finder: RegionFinder
    anchors: Tensor
    counts: tuple[int, ...]
    truth: Truth
    positive: Tensor

    def main(self) -> list[Tensor]:
        """Cells that are assigned to a box, bool."""
        return self._split(self.positive)

    def valuable(self) -> list[Tensor]:
        """The overlap (IoU) float32 of each cell with a box in whose valuable region it is, 0 elsewhere.

        With a, from which overlap on ATSS finds anchors positive for a box, and d = overlap - (distance of the centres
        / diagonal of the enclosing box)^2, the region of the box is gamma a <= d < a (arXiv 2102.12252).
        """
        assigner = ATSSAssigner(topk=self.finder.topk, deviation="sample")
        threshold = assigner.thresholds(self.anchors, self.counts, self.truth).unsqueeze(2)
        iou = self._iou()
        overlap = self._reduced(iou)
        found = self._real() & (overlap < threshold) & (overlap >= self.finder.gamma * threshold)
        value = self._split((iou * found.astype("float32")).max(axis=1))
        if not self.finder.exclude_main:
            return value
        return [one * (~main).astype("float32") for one, main in zip(value, self.main(), strict=True)]

    def fine_grained(self) -> list[Tensor]:
        """Cells whose anchor overlaps a box more than half as much as its best anchor does, bool.

        (Wang et al., "Distilling Object Detectors with Fine-grained Feature Imitation", arXiv 1906.03609.) As LD
        publishes it, the best anchor is that of all levels; FGFI's :func:`cells_of_anchors` takes each level's.
        """
        iou = self._iou()
        return self._any(iou > 0.5 * iou.max(axis=2, keepdim=True))

    def inside(self) -> list[Tensor]:
        """Cells whose anchor's centre is strictly inside of a box, bool.

        As LD publishes it; DeFeat's :func:`cells_inside` counts every cell that a box covers.
        """
        centres = xyxy_to_cxcywh(self.anchors)[:, :2]
        return self._any(encode_distances(centres, self.truth.boxes.unsqueeze(2)).min(axis=-1) > 0)

    def _iou(self) -> Tensor:
        """Overlaps [N, M, P] of boxes and anchors."""
        return pairwise_iou(self.truth.boxes, self.anchors.unsqueeze(0))

    def _real(self) -> Tensor:
        return self.truth.real.unsqueeze(2)

    def _reduced(self, iou: Tensor) -> Tensor:
        """Overlaps [N, M, P] minus what the distance of the centres takes away."""
        anchors, boxes = self.anchors, self.truth.boxes.unsqueeze(2)
        gap = xyxy_to_cxcywh(boxes)[..., :2] - xyxy_to_cxcywh(anchors)[:, :2]
        around = paddle.maximum(boxes[..., 2:], anchors[:, 2:]) - paddle.minimum(boxes[..., :2], anchors[:, :2])
        if self.finder.overlap == "iof":
            # The intersection from IoU = i / (a + b - i).
            iou = iou / (1.0 + iou) * (area(anchors) + area(boxes)) / area(anchors)
        return iou - (gap * gap).sum(axis=-1) / (around * around).sum(axis=-1)

    def _any(self, found: Tensor) -> list[Tensor]:
        return self._split((found & self._real()).any(axis=1))

    def _split(self, region: Tensor) -> list[Tensor]:
        return region.split(list(self.counts), axis=1)
