"""Training targets of dense anchor-based heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppkd.models.assigners.max_iou_assigner import Matches
from ppkd.models.assigners.place_targets import PlaceTargets
from ppkd.models.layers.select import take_rows
from ppkd.structures.boxes import encode_deltas
from ppkd.structures.truth import Truth

IGNORED = -1


@dataclass(frozen=True)
class AnchorTargets(PlaceTargets):
    """Adds ``deltas`` float32 [N, P, 4], offsets from anchor to box, 0 where a place answers for none.

    ``box`` is the one that an anchor overlaps most.
    """

    deltas: Tensor


def anchor_targets(
    anchors: Tensor, truth: Truth, matches: Matches, num_classes: int, weights: Sequence[float]
) -> AnchorTargets:
    """Targets for corner ``anchors`` float32 [P, 4]; ``weights`` multiply the offsets."""
    classes = paddle.take_along_axis(truth.labels, matches.box, axis=1)
    background = paddle.full_like(classes, num_classes)
    others = paddle.where(matches.negative, background, paddle.full_like(classes, IGNORED))
    boxes = paddle.where(matches.positive.unsqueeze(-1), take_rows(truth.boxes, matches.box), anchors.unsqueeze(0))
    return AnchorTargets(
        labels=paddle.where(matches.positive, classes, others),
        positive=matches.positive.astype("float32"),
        deltas=encode_deltas(anchors, boxes, weights),
        box=matches.box,
    )
