"""Ground truth of a batch as one padded block, so that assigners need no loop over boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppkd.structures import Batch


@dataclass(frozen=True)
class PaddedTruth:
    """Boxes of N images, padded to M each (M is at least 1).

    ``boxes`` float32 [N, M, 4] x1, y1, x2, y2 in pixels of the input, zeros for padding; ``labels`` int64 [N, M];
    ``scores`` float32 [N, M], the mixing weight of a box, 0 for padding and for boxes without width or height.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor


def pad_truth(batch: Batch) -> PaddedTruth:
    """Pad ``gt_bbox``, ``gt_class`` and, where mixup left it, ``gt_score`` of ``batch``."""
    counts = [boxes.shape[0] for boxes in batch["gt_bbox"]]
    most = max(1, *counts)
    boxes = _pad(batch["gt_bbox"], most, [4], "float32")
    given = batch.get("gt_score") or [paddle.ones([count], dtype="float32") for count in counts]
    scores = _pad(given, most, [], "float32").clip(min=0)
    solid = (boxes[..., 2:] > boxes[..., :2]).all(axis=-1).astype("float32")
    return PaddedTruth(boxes, _pad(batch["gt_class"], most, [], "int64"), scores * solid)


def _pad(rows: Sequence[Tensor], length: int, tail: list[int], dtype: str) -> Tensor:
    """Stack N tensors (k_i, *tail) as (N, length, *tail), zeros behind."""
    blocks = []
    for row in rows:
        count = row.shape[0]
        parts = [row.reshape([count, *tail]).astype(dtype)] if count else []
        if count < length:
            parts.append(paddle.zeros([length - count, *tail], dtype=dtype))
        blocks.append(paddle.concat(parts))
    return paddle.stack(blocks)
