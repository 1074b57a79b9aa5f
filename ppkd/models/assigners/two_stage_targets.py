"""Training targets of two-stage detectors."""

from __future__ import annotations

from dataclasses import dataclass

from paddle import Tensor

from ppkd.models.assigners.anchor_targets import AnchorTargets
from ppkd.models.assigners.mask_assigner import MaskTargets


@dataclass(frozen=True)
class TwoStageTargets:
    """Targets of the anchors and of the R proposals that a record holds for each image.

    ``rpn`` has class 0 for anchors on an object, 1 for background, -1 for those that do not count. ``roi_labels`` int64
    [N, R]: class, C for background, -1 for padding and for proposals that do not count; ``roi_matched`` int64 [N, R],
    the place of the box that the proposal overlaps most, and ``roi_matched_gt_boxes`` float32 [N, R, 4], its corners,
    have a meaning where the label is a class. ``masks`` are there in training with masks.
    """

    rpn: AnchorTargets
    roi_labels: Tensor
    roi_matched: Tensor
    roi_matched_gt_boxes: Tensor
    masks: MaskTargets | None = None
