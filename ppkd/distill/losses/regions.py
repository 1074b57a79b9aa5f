"""Regions of a pyramid's cells around the boxes of a batch, where localisation distillation looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import paddle
from paddle import Tensor

from ppkd.models.assigners.ground_truth import pad_truth
from ppkd.structures import Batch
from ppkd.structures.boxes import area, pairwise_iou

INSIDE = 0.01
"""A cell of the main region is so many pixels inside of its box."""


@dataclass(frozen=True)
class RegionFinder:
    """How regions are found; every cell has one square anchor, centred on its upper left corner.

    The defaults are those of the published numbers of LD (Zheng et al., arXiv 2102.12252 and 2204.05957).

    Attributes:
        anchor_scale: side of an anchor in strides.
        topk: candidates of a box on each level, the anchors with the nearest centres.
        deviation: ``sample`` or ``population``, the spread of the candidates' overlaps in the threshold of the main
            region; PaddleDetection's GFL has the latter. The valuable region uses the sample deviation in both.
        gamma: the valuable region starts at so much of the threshold.
        overlap: what of an anchor and a box is reduced by the distance of their centres for the valuable region. Papers
            say ``iou``; the published code divides the intersection by the anchor's area, ``iof``.
        exclude_main: leave the main region out of the valuable one, as published for RetinaNet but not for GFL.
    """

    anchor_scale: float = 8.0
    topk: int = 9
    deviation: Literal["sample", "population"] = "sample"
    gamma: float = 0.25
    overlap: Literal["iof", "iou"] = "iof"
    exclude_main: bool = False

    def __call__(self, sizes: Sequence[Sequence[int]], strides: Sequence[int], batch: Batch) -> Regions:
        """The regions of ``batch`` on levels of ``sizes`` (height, width in cells) and ``strides`` (pixels)."""
        anchors = [_anchors(size, stride, self.anchor_scale) for size, stride in zip(sizes, strides, strict=True)]
        truth = pad_truth(batch)
        return Regions(self, anchors, truth.boxes, truth.scores > 0)


class Regions:
    """The regions of N images on a pyramid of A cells; every method returns one tensor [N, H * W] per level.

    An image without boxes has empty regions.

    Args:
        finder: the settings.
        anchors: corner boxes float32 (H * W, 4) in pixels per level.
        boxes: corner boxes float32 (N, M, 4), padded.
        real: bool (N, M), false for padding.
    """

    def __init__(self, finder: RegionFinder, anchors: Sequence[Tensor], boxes: Tensor, real: Tensor) -> None:
        self._finder = finder
        self._cells = [level.shape[0] for level in anchors]
        self._anchors = paddle.concat(list(anchors))
        self._boxes, self._real = boxes, real.unsqueeze(2)
        self._iou = pairwise_iou(boxes, self._anchors)
        self._candidates = self._nearest()

    def main(self) -> list[Tensor]:
        """Cells that ATSS assigns to a box, bool (Zhang et al., arXiv 1912.02424).

        Among its candidates, a box gets those whose overlap reaches mean + deviation and whose centre is inside of it.
        """
        threshold = self._threshold(self._finder.deviation)
        nearest = paddle.put_along_axis(paddle.zeros_like(self._iou), self._candidates, 1.0, axis=2) > 0
        return self._any(nearest & (self._iou >= threshold) & self._inside(INSIDE))

    def valuable(self) -> list[Tensor]:
        """The overlap (IoU) float32 of each cell with a box in whose valuable region it is, 0 elsewhere.

        With a = mean + sample deviation of the candidates' overlaps and d = overlap - (distance of the centres /
        diagonal of the enclosing box)^2, the region of a box is gamma a <= d < a (arXiv 2102.12252).
        """
        threshold = self._threshold("sample")
        distance = self._distance()
        found = self._real & (distance < threshold) & (distance >= self._finder.gamma * threshold)
        value = self._split((self._iou * found.astype("float32")).max(axis=1))
        if not self._finder.exclude_main:
            return value
        return [one * (~main).astype("float32") for one, main in zip(value, self.main(), strict=True)]

    def fine_grained(self) -> list[Tensor]:
        """Cells whose anchor overlaps a box more than half as much as its best anchor does, bool.

        (Wang et al., "Distilling Object Detectors with Fine-grained Feature Imitation", arXiv 1906.03609.)
        """
        return self._any(self._iou > 0.5 * self._iou.max(axis=2, keepdim=True))

    def inside(self) -> list[Tensor]:
        """Cells strictly inside of a box, bool."""
        return self._any(self._inside(0.0))

    def _nearest(self) -> Tensor:
        """Indices int64 [N, M, K] of the candidates of every box."""
        gap = _centres(self._boxes).unsqueeze(2) - _centres(self._anchors)
        found, start = [], 0
        for level in gap.norm(axis=-1).split(self._cells, axis=2):
            cells = level.shape[2]
            found.append(level.topk(min(self._finder.topk, cells), axis=2, largest=False)[1] + start)
            start += cells
        return paddle.concat(found, axis=2)

    def _threshold(self, deviation: str) -> Tensor:
        overlap = paddle.take_along_axis(self._iou, self._candidates, axis=2)
        mean = overlap.mean(axis=2, keepdim=True)
        count = overlap.shape[2] - (deviation == "sample")
        return mean + (((overlap - mean) ** 2).sum(axis=2, keepdim=True) / max(count, 1)).sqrt()

    def _inside(self, margin: float) -> Tensor:
        centres, boxes = _centres(self._anchors), self._boxes.unsqueeze(2)
        return ((centres - boxes[..., :2] > margin) & (boxes[..., 2:] - centres > margin)).all(axis=-1)

    def _distance(self) -> Tensor:
        boxes = self._boxes.unsqueeze(2)
        gap = _centres(boxes) - _centres(self._anchors)
        corners = paddle.minimum(boxes[..., :2], self._anchors[:, :2])
        around = paddle.maximum(boxes[..., 2:], self._anchors[:, 2:]) - corners
        overlap = self._iou if self._finder.overlap == "iou" else self._share_of_anchor()
        return overlap - (gap * gap).sum(axis=-1) / (around * around).sum(axis=-1)

    def _share_of_anchor(self) -> Tensor:
        """Intersection over the anchor's area [N, M, A], from i / (a + b - i) = IoU."""
        ours, theirs = area(self._anchors), area(self._boxes).unsqueeze(2)
        return self._iou / (1.0 + self._iou) * (ours + theirs) / ours

    def _any(self, found: Tensor) -> list[Tensor]:
        return self._split((found & self._real).any(axis=1))

    def _split(self, region: Tensor) -> list[Tensor]:
        return region.split(self._cells, axis=1)


def _anchors(size: Sequence[int], stride: int, scale: float) -> Tensor:
    y, x = paddle.meshgrid(*(paddle.arange(cells, dtype="float32") * stride for cells in size))
    half = scale * stride / 2
    return paddle.stack([x - half, y - half, x + half, y + half], axis=-1).reshape([-1, 4])


def _centres(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) * 0.5
