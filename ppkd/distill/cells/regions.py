"""Regions of a pyramid's cells around the boxes of a batch, where localisation distillation looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import paddle
from paddle import Tensor

from ppkd.models.assigners.atss_assigner import ATSSAssigner
from ppkd.models.assigners.cell_targets import CellTargets
from ppkd.models.heads.anchor_generator import cell_corners
from ppkd.structures.boxes import area, encode_distances, pairwise_iou, xyxy_to_cxcywh
from ppkd.structures.truth import Truth


@dataclass(frozen=True)
class RegionFinder:
    """How regions are found.

    Every cell has one square anchor, centred on its upper left corner. The defaults are those of the published numbers
    of LD (Zheng et al., arXiv 2102.12252 and 2204.05957).

    Attributes:
        student_targets: take the anchors and the main region from the student's own assignment, as published, where it
            has one anchor per cell. ``anchor_scale`` and ``deviation`` are for students that have not.
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

    def __call__(self, sizes: Sequence[Sequence[int]], strides: Sequence[int], context: Context) -> Regions:
        """The regions of a batch on the student's levels, ``sizes`` (height, width) in cells, ``strides`` in pixels."""
        targets = context.targets
        if self.student_targets and isinstance(targets, CellTargets):
            return Regions(self, targets.anchors, targets.sizes, targets.truth, targets.positive > 0)
        levels = [cell_anchors(size, stride, self.anchor_scale) for size, stride in zip(sizes, strides, strict=True)]
        anchors, cells, truth = paddle.concat(levels), [level.shape[0] for level in levels], pad_truth(context.batch)
        assigner = ATSSAssigner(topk=self.topk, deviation=self.deviation)
        return Regions(self, anchors, cells, truth, assigner(anchors, cells, truth).positive)


class Regions:
    """The regions of N images on a pyramid of P cells; every method returns one tensor [N, H * W] per level.

    An image without boxes has empty regions.

    Args:
        finder: the settings.
        anchors: corner boxes float32 (P, 4) in pixels.
        sizes: cells of each level.
        truth: the boxes.
        positive: bool (N, P), the cells that are assigned to a box.
    """

    def __init__(
        self, finder: RegionFinder, anchors: Tensor, sizes: Sequence[int], truth: Truth, positive: Tensor
    ) -> None:
        self._finder, self._truth = finder, truth
        self._anchors, self._sizes, self._positive = anchors, list(sizes), positive

    def main(self) -> list[Tensor]:
        """Cells that are assigned to a box, bool."""
        return self._split(self._positive)

    def valuable(self) -> list[Tensor]:
        """The overlap (IoU) float32 of each cell with a box in whose valuable region it is, 0 elsewhere.

        With a, from which overlap on ATSS finds anchors positive for a box, and d = overlap - (distance of the centres
        / diagonal of the enclosing box)^2, the region of the box is gamma a <= d < a (arXiv 2102.12252).
        """
        assigner = ATSSAssigner(topk=self._finder.topk, deviation="sample")
        threshold = assigner.thresholds(self._anchors, self._sizes, self._truth).unsqueeze(2)
        iou = self._iou()
        overlap = self._reduced(iou)
        found = self._real() & (overlap < threshold) & (overlap >= self._finder.gamma * threshold)
        value = self._split((iou * found.astype("float32")).max(axis=1))
        if not self._finder.exclude_main:
            return value
        return [one * (~main).astype("float32") for one, main in zip(value, self.main(), strict=True)]

    def fine_grained(self) -> list[Tensor]:
        """Cells whose anchor overlaps a box more than half as much as its best anchor does, bool.

        (Wang et al., "Distilling Object Detectors with Fine-grained Feature Imitation", arXiv 1906.03609.)
        """
        iou = self._iou()
        return self._any(iou > 0.5 * iou.max(axis=2, keepdim=True))

    def inside(self) -> list[Tensor]:
        """Cells strictly inside of a box, bool."""
        centres = xyxy_to_cxcywh(self._anchors)[:, :2]
        return self._any(encode_distances(centres, self._truth.boxes.unsqueeze(2)).min(axis=-1) > 0)

    def _iou(self) -> Tensor:
        """Overlaps [N, M, P] of boxes and anchors."""
        return pairwise_iou(self._truth.boxes, self._anchors.unsqueeze(0))

    def _real(self) -> Tensor:
        return (self._truth.scores > 0).unsqueeze(2)

    def _reduced(self, iou: Tensor) -> Tensor:
        """Overlaps [N, M, P] minus what the distance of the centres takes away."""
        anchors, boxes = self._anchors, self._truth.boxes.unsqueeze(2)
        gap = xyxy_to_cxcywh(boxes)[..., :2] - xyxy_to_cxcywh(anchors)[:, :2]
        around = paddle.maximum(boxes[..., 2:], anchors[:, 2:]) - paddle.minimum(boxes[..., :2], anchors[:, :2])
        if self._finder.overlap == "iof":
            # The intersection from IoU = i / (a + b - i).
            iou = iou / (1.0 + iou) * (area(anchors) + area(boxes)) / area(anchors)
        return iou - (gap * gap).sum(axis=-1) / (around * around).sum(axis=-1)

    def _any(self, found: Tensor) -> list[Tensor]:
        return self._split((found & self._real()).any(axis=1))

    def _split(self, region: Tensor) -> list[Tensor]:
        return region.split(self._sizes, axis=1)


def cell_anchors(size: Sequence[int], stride: int, scale: float) -> Tensor:
    """Square anchors float32 [H * W, 4] of a level of ``size`` (H, W), ``scale`` strides wide, on the corners."""
    height, width = size
    centres = cell_corners(height, width, stride)
    return paddle.concat([centres - scale * stride / 2, centres + scale * stride / 2], axis=1)
