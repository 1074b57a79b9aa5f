"""What GID reads of a record at the places of a head, be they anchors or proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.distill.cells.answering import answering
from ppkd.distill.losses.gid_instances import Instances
from ppkd.models.detectors.detector import Detector
from ppkd.models.postprocess.dense_decode import by_anchor
from ppkd.structures.boxes import pairwise_iou

OVERLAP = 0.5
"""A proposal that overlaps an instance by so much answers for it."""


class Decodes(Protocol):
    """A detector that can tell the boxes of its record."""

    def boxes(self, record: Any) -> list[Tensor]:
        """Corner boxes float32 [N, H * W * A, 4] in pixels, level by level."""


@dataclass(frozen=True)
class Places:
    """For P places in each of N images, their classes and boxes.

    ``scores`` [N, P, C] in 0..1; ``boxes`` [N, P, 4], corners in pixels, zeros for padding; ``logits`` [N, P, any], raw
    class numbers; ``numbers`` [N, P, K], what two detectors' boxes are compared by.
    """

    scores: Tensor
    boxes: Tensor
    logits: Tensor
    numbers: Tensor


def dense_places(record: DenseRecord, detector: Decodes, levels: Sequence[int], strides: Sequence[int]) -> Places:
    """All anchors of the ``levels`` of a dense head, in this order, of ``strides`` in pixels.

    Boxes are compared by their anchors' offsets where these are recorded, else by their sides in strides.
    """
    decoded = detector.boxes(record)
    boxes = [decoded[i] for i in levels]
    if isinstance(record, BoxDeltaRecord):
        numbers = [by_anchor(record.box_deltas[i]) for i in levels]
    else:
        numbers = [level / stride for level, stride in zip(boxes, strides, strict=True)]
    scores = record.scores()
    return Places(
        scores=paddle.concat([by_anchor(scores[i]) for i in levels], axis=1),
        boxes=paddle.concat(boxes, axis=1),
        logits=paddle.concat([by_anchor(record.cls_logits[i]) for i in levels], axis=1),
        numbers=paddle.concat(numbers, axis=1),
    )


def proposal_places(record: RoIRecord) -> Places:
    """All proposals. Their boxes are not yet refined, so both detectors have the same.

    Boxes are compared by their offsets, in the mean over classes.
    """
    real = record.valid().unsqueeze(-1).astype("float32")
    return Places(
        scores=F.softmax(record.roi_logits, axis=-1)[..., :-1],
        boxes=record.proposals * real,
        logits=record.roi_logits,
        numbers=record.roi_deltas / (record.roi_deltas.shape[-1] / 4),
    )


def answering_anchors(
    record: DenseRecord, detector: Detector, found: Instances, levels: Sequence[int], strides: Sequence[int]
) -> Tensor:
    """Which anchors of ``levels`` the detector's own assigner would give to the instances, bool [N, P].

    ``strides`` are those of all levels of the record.
    """
    batch = {
        "gt_bbox": list(found.boxes.unbind(axis=0)),
        "gt_class": list(paddle.zeros_like(found.place).unbind(axis=0)),
    }
    context = Context(batch, detector.assign(record, batch))
    positive = answering(record.cls_logits, strides, context).positive
    sizes = [level.shape[1] * level.shape[3] * level.shape[4] for level in record.cls_logits]
    by_level = positive.split(sizes, axis=1)
    return paddle.concat([by_level[i] for i in levels], axis=1)


def answering_proposals(places: Places, found: Instances) -> Tensor:
    """Which proposals overlap an instance well enough, bool [N, P]."""
    return pairwise_iou(places.boxes, found.boxes).max(axis=2) >= OVERLAP
