"""Transforms that prepare targets in PaddleDetection's reader and leave the batch alone here.

A detector's ``assign`` makes targets on the device, from boxes x1, y1, x2, y2 in pixels of the network's input. The
names and settings are accepted, so that PaddleDetection's files work unchanged, and logged as without effect.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ppkd.config import register
from ppkd.data.transforms.base import Sample, Transform


class LeftToAssign(Transform):
    """Returns the sample as it is."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample."""
        return sample


@register
class NormalizeBox(LeftToAssign):
    """Boxes stay in pixels."""

    def __init__(self) -> None:
        """NormalizeBox has no settings."""


@register
class BboxXYXY2XYWH(LeftToAssign):
    """Boxes stay x1, y1, x2, y2."""

    def __init__(self) -> None:
        """BboxXYXY2XYWH has no settings."""


@register(without_effect=("num_max_boxes",))
class PadBox(LeftToAssign):
    """Boxes stay a list of any length: those beyond ``num_max_boxes`` are not lost either."""

    def __init__(self, num_max_boxes: int = 50) -> None:
        self.num_max_boxes = num_max_boxes


@register(without_effect=("return_gt_mask", "pad_img", "minimum_gtnum", "only_origin_box"))
class PadGT(LeftToAssign):
    """Boxes stay a list of any length, and images without boxes stay."""

    def __init__(
        self,
        return_gt_mask: bool = True,
        pad_img: bool = False,
        minimum_gtnum: int = 0,
        only_origin_box: bool = False,
    ) -> None:
        self.return_gt_mask = return_gt_mask
        self.pad_img = pad_img
        self.minimum_gtnum = minimum_gtnum
        self.only_origin_box = only_origin_box


@register(without_effect=("anchors", "anchor_masks", "downsample_ratios", "num_classes", "iou_thresh"))
class Gt2YoloTarget(LeftToAssign):
    """YOLOv3's targets come from the head's own anchors, in ``YOLOv3.assign``."""

    def __init__(
        self,
        anchors: Sequence[Sequence[float]],
        anchor_masks: Sequence[Sequence[int]],
        downsample_ratios: Sequence[int],
        num_classes: int = 80,
        iou_thresh: float = 1.0,
    ) -> None:
        self.anchors = anchors
        self.anchor_masks = anchor_masks
        self.downsample_ratios = downsample_ratios
        self.num_classes = num_classes
        self.iou_thresh = iou_thresh


@register(without_effect=("num_classes", "downsample_ratios", "grid_cell_scale", "cell_offset", "compute_vlr_region"))
class Gt2GFLTarget(LeftToAssign):
    """GFL's targets come from its assigner, in ``assign``."""

    def __init__(
        self,
        num_classes: int = 80,
        downsample_ratios: Sequence[int] = (8, 16, 32, 64, 128),
        grid_cell_scale: int = 4,
        cell_offset: float = 0,
        compute_vlr_region: bool = False,
    ) -> None:
        self.num_classes = num_classes
        self.downsample_ratios = downsample_ratios
        self.grid_cell_scale = grid_cell_scale
        self.cell_offset = cell_offset
        self.compute_vlr_region = compute_vlr_region
