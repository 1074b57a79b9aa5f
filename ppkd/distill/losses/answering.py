"""Which places of a dense head answer for which box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppkd.distill.cells.regions import cell_anchors
from ppkd.models.assigners.anchor_targets import AnchorTargets
from ppkd.models.assigners.atss_assigner import ATSSAssigner
from ppkd.models.assigners.cell_targets import CellTargets

ANCHOR_SCALE = 8.0
"""Side in strides of the square anchors by which boxes find places where the student's assigner does not tell."""


@dataclass(frozen=True)
class Answering:
    """For P places, level after level, each in the order rows, columns, anchors, in N images.

    ``positive`` bool [N, P], whether a place answers for a box; ``box`` int64 [N, P], for which of the image's.
    """

    positive: Tensor
    box: Tensor


def answering(levels: Sequence[Tensor], strides: Sequence[int], context: Context) -> Answering:
    """The places that answer for the boxes of ``context``, as the student's targets there have it.

    A head that gives a box to a single place, as YOLOv3's does, has no set of places to a box. Then, and without
    targets, ATSS (arXiv 1912.02424) finds cells, all of whose anchors answer.

    Args:
        levels: class logits [N, A, C, H, W] per level.
        strides: of the levels, in pixels.
        context: the boxes, and the student's targets for them.
    """
    targets = context.targets
    if isinstance(targets, AnchorTargets | CellTargets):
        return Answering(targets.positive > 0, targets.box)
    anchors = [
        cell_anchors(level.shape[-2:], stride, ANCHOR_SCALE) for level, stride in zip(levels, strides, strict=True)
    ]
    sizes = [level.shape[0] for level in anchors]
    matches = ATSSAssigner()(paddle.concat(anchors), sizes, pad_truth(context.batch))
    count = levels[0].shape[1]
    positive = matches.positive.astype("int64").repeat_interleave(count, axis=1) > 0
    return Answering(positive, matches.box.repeat_interleave(count, axis=1))
