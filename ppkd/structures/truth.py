"""Ground truth of a batch as one padded block, so that nobody needs a loop over boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppkd.structures.batch import Batch


@dataclass(frozen=True)
class Truth:
    """Boxes of N images, padded to M each (M is at least 1).

    Attributes:
        boxes: corners x1, y1, x2, y2 float32 [N, M, 4] in pixels of the network's input, zeros for padding.
        labels: class index int64 [N, M], 0 for padding.
        scores: the mixing weight of a box float32 [N, M], 0 for padding and for boxes without width or height.
        im_shape: height and width float32 [N, 2] of the images within the padded input, where the batch tells.
        crowd: which boxes are around a crowd of objects, float32 [N, M] of ones and zeros, where the batch tells.
        outlines: edges x1, y1, x2, y2 float32 [N, M, L, S, 4] of the boxes' masks in L layers, zeros for padding, where
            the batch has masks (:class:`ppkd.data.outlines.Outlines`).
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    im_shape: Tensor | None = None
    crowd: Tensor | None = None
    outlines: Tensor | None = None

    @property
    def real(self) -> Tensor:
        """Which rows are boxes that count, bool [N, M]: no padding, with width and height, with a weight."""
        return self.scores > 0

    @property
    def image_shape(self) -> Tensor:
        """``im_shape``; raises :class:`ValueError` where the batch had none."""
        if self.im_shape is None:
            raise ValueError("the batch has no im_shape, height and width of its images")
        return self.im_shape

    @classmethod
    def of(cls, batch: Batch) -> Truth:
        """Pad ``gt_bbox``, ``gt_class``, ``is_crowd`` and, where they are, ``gt_score`` and ``gt_poly`` of ``batch``.

        A batch without ``gt_bbox`` has no boxes; one without ``gt_class``, for formulas on boxes alone, has labels 0.
        """
        rows = batch["gt_bbox"] if "gt_bbox" in batch else [paddle.zeros([0, 4])] * batch["image"].shape[0]
        counts = [boxes.shape[0] for boxes in rows]
        most = max(1, *counts)
        boxes = _pad(rows, most, [4], "float32")
        classes = batch.get("gt_class") or [paddle.zeros([count], dtype="int64") for count in counts]
        weights = batch.get("gt_score") or [paddle.ones([count], dtype="float32") for count in counts]
        scores = _pad(weights, most, [], "float32").clip(min=0)
        crowd = _pad(batch["is_crowd"], most, [], "float32") if "is_crowd" in batch else None
        solid = scores * _solid(boxes)
        return cls(boxes, _pad(classes, most, [], "int64"), solid, batch.get("im_shape"), crowd, _outlines(batch, most))

    def images(self, index: Tensor) -> Truth:
        """The ground truth of the images at ``index``, int64 (M,), in that order."""
        own = (self.boxes, self.labels, self.scores)
        boxes, labels, scores = (values.index_select(index, axis=0) for values in own)
        rest = (self.im_shape, self.crowd, self.outlines)
        further = (None if one is None else one.index_select(index, axis=0) for one in rest)
        return Truth(boxes, labels, scores, *further)

    @classmethod
    def around(cls, boxes: Tensor, im_shape: Tensor | None = None) -> Truth:
        """Corner ``boxes`` float32 [N, M, 4], zeros for padding, as ground truth of a single class."""
        return cls(boxes, paddle.zeros(boxes.shape[:2], dtype="int64"), _solid(boxes), im_shape)


def as_truth(given: Truth | Batch) -> Truth:
    """``given``, or the ground truth of the batch that it is."""
    return given if isinstance(given, Truth) else Truth.of(given)


def _solid(boxes: Tensor) -> Tensor:
    """1 for boxes [..., 4] with width and height, else 0."""
    return (boxes[..., 2:] > boxes[..., :2]).all(axis=-1).astype("float32")


def _outlines(batch: Batch, most: int) -> Tensor | None:
    masks = batch.get("gt_poly")
    return None if masks is None else _pad(masks, most, masks[0].shape[1:], "float32")


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
