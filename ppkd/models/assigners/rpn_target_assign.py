"""Targets of a region proposal network (Ren et al., "Faster R-CNN", arXiv:1506.01497, section 3.1.2)."""

from __future__ import annotations

from dataclasses import replace

import paddle
from paddle import Tensor

from ppkd.config import register
from ppkd.models.assigners.anchor_targets import AnchorTargets, anchor_targets
from ppkd.models.assigners.max_iou_assigner import Matches, MaxIoUAssigner
from ppkd.models.assigners.sampling import check_sample, priorities, sample
from ppkd.structures.truth import Truth


@register(without_effect=("assign_on_cpu",))
class RPNTargetAssign:
    """``batch_size_per_im`` anchors of each image count, at most ``fg_fraction`` of them on objects.

    An anchor is on an object if it overlaps a box by ``positive_overlap`` or more, or if none overlaps that box more;
    it is background if it overlaps every box by less than ``negative_overlap``. ``use_random`` false takes the first
    anchors instead of random ones. No anchor is on a box around a crowd; with ``ignore_thresh`` above 0 anchors that
    overlap one by more do not count.
    """

    def __init__(
        self,
        *,
        batch_size_per_im: int = 256,
        fg_fraction: float = 0.5,
        positive_overlap: float = 0.7,
        negative_overlap: float = 0.3,
        ignore_thresh: float = -1.0,
        use_random: bool = True,
    ):
        check_sample("RPNTargetAssign", batch_size_per_im, fg_fraction)
        self.batch_size_per_im = batch_size_per_im
        self.fg_fraction = fg_fraction
        self.use_random = use_random
        self.ignore_thresh = ignore_thresh
        self.matcher = MaxIoUAssigner(positive_overlap=positive_overlap, negative_overlap=negative_overlap)

    def __call__(self, anchors: Tensor, truth: Truth, *, shuffled: bool) -> AnchorTargets:
        """Targets for corner ``anchors`` float32 [P, 4]: class 0 on objects, 1 for background, -1 if it does not count.

        Unless ``shuffled`` the first anchors are taken.
        """
        matches = self.matcher(anchors, truth, crowd_overlap=self.ignore_thresh)
        images, count = matches.positive.shape
        random = paddle.ones([images], dtype="bool") if shuffled and self.use_random else None
        chosen = sample(
            matches.positive,
            matches.negative,
            priorities(images, count, random),
            count=self.batch_size_per_im,
            fraction=self.fg_fraction,
        ).mask(count)
        counting = Matches(matches.box, matches.positive & chosen, matches.negative & chosen)
        objects = replace(truth, labels=paddle.zeros_like(truth.labels))
        return anchor_targets(anchors, objects, counting, num_classes=1, weights=(1.0, 1.0, 1.0, 1.0))
