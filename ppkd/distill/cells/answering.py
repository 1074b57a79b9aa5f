"""Which places of a dense head answer for which box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppkd.distill.cells.anchors import square_anchors
from ppkd.distill.side import Side
from ppkd.models.assigners.atss_assigner import ATSSAssigner
from ppkd.models.assigners.place_targets import PlaceTargets
from ppkd.structures.truth import Truth

ANCHOR_SCALE = 8.0
"""Side in strides of the square anchors by which boxes find places where the student's assigner does not tell."""


@dataclass(frozen=True)
class Answering:
    """For P places, level after level, each in the order rows, columns, anchors, in N images.

    ``positive`` bool [N, P], whether a place answers for a box; ``box`` int64 [N, P], for which of the image's;
    ``known`` bool [N, P], whether it is not one of those that the assigner ignores.
    """

    positive: Tensor
    box: Tensor
    known: Tensor


def answering(levels: Sequence[Tensor], strides: Sequence[int], student: Side, truth: Truth) -> Answering:
    """The places of the student's head that answer for the boxes of ``truth``, as its targets have it.

    A head that gives a box to a single place, as YOLOv3's does, has no set of places to a box. Then, and without
    targets, ATSS (arXiv 1912.02424) finds cells, all of whose anchors answer.

    Args:
        levels: class logits [N, A, C, H, W] per level.
        strides: of the levels, in pixels.
        student: its ``targets`` are those for ``truth``.
        truth: the boxes.
    """
    targets = student.targets
    if isinstance(targets, PlaceTargets):
        return Answering(targets.positive > 0, targets.box, targets.labels >= 0)
    anchors = square_anchors([level.shape[-2:] for level in levels], strides, ANCHOR_SCALE)
    matches = ATSSAssigner()(paddle.concat(anchors), [level.shape[0] for level in anchors], truth)
    count = levels[0].shape[1]
    positive = matches.positive.astype("int64").repeat_interleave(count, axis=1) > 0
    return Answering(positive, matches.box.repeat_interleave(count, axis=1), paddle.ones_like(positive))
