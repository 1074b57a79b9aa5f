"""Pure functions on boxes, vectorised over any leading dimensions; the last axis holds the four numbers of a box."""

from __future__ import annotations

import math
from collections.abc import Sequence

import paddle
from paddle import Tensor

MAX_LOG_SCALE = math.log(1000 / 16)
"""Predicted boxes are at most so much larger than their anchor, as a natural logarithm."""


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Corners (..., 4) x1, y1, x2, y2 to centre and size (..., 4) cx, cy, w, h."""
    size = boxes[..., 2:] - boxes[..., :2]
    return paddle.concat([boxes[..., :2] + size * 0.5, size], axis=-1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Centre and size (..., 4) cx, cy, w, h to corners (..., 4) x1, y1, x2, y2."""
    half = boxes[..., 2:] * 0.5
    return paddle.concat([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)


def area(boxes: Tensor) -> Tensor:
    """Area (...,) of corner boxes (..., 4); inverted boxes have none."""
    size = (boxes[..., 2:] - boxes[..., :2]).clip(min=0)
    return size[..., 0] * size[..., 1]


def pairwise_iou(first: Tensor, second: Tensor, eps: float = 1e-9) -> Tensor:
    """Intersection over union (..., P, M) of every corner box of (..., P, 4) with every one of (..., M, 4).

    Boxes without area, padding for instance, overlap nothing.
    """
    left, top, right, bottom = first.unsqueeze(-1).unbind(axis=-2)
    other_left, other_top, other_right, other_bottom = second.unsqueeze(-3).unbind(axis=-1)
    width = (paddle.minimum(right, other_right) - paddle.maximum(left, other_left)).clip(min=0)
    height = (paddle.minimum(bottom, other_bottom) - paddle.maximum(top, other_top)).clip(min=0)
    shared = width * height
    return shared / (area(first).unsqueeze(-1) + area(second).unsqueeze(-2) - shared + eps)


def size_iou(first: Tensor, second: Tensor) -> Tensor:
    """Overlap (..., P, M) of sizes (..., P, 2) and (M, 2), w and h, as if the boxes had a corner in common."""
    one = first.unsqueeze(-2)
    shared = paddle.minimum(one, second).prod(axis=-1)
    return shared / (one.prod(axis=-1) + second.prod(axis=-1) - shared)


def encode_deltas(anchors: Tensor, boxes: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """What moves corner ``anchors`` (..., 4) onto corner ``boxes`` (..., 4), both with area: dx, dy, dw, dh (..., 4).

    Offsets of the centre in units of the anchor's size, and logarithms of the sizes' ratios (Girshick et al.,
    arXiv:1311.2524, appendix C), times ``weights``.
    """
    source, target = xyxy_to_cxcywh(anchors), xyxy_to_cxcywh(boxes)
    shift = (target[..., :2] - source[..., :2]) / source[..., 2:]
    scale = paddle.log(target[..., 2:] / source[..., 2:])
    return paddle.concat([shift, scale], axis=-1) * paddle.to_tensor(weights, dtype="float32")


def decode_deltas(deltas: Tensor, anchors: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """The inverse of :func:`encode_deltas`: corner boxes (..., 4); enlargement stops at ``MAX_LOG_SCALE``."""
    source = xyxy_to_cxcywh(anchors)
    deltas = deltas / paddle.to_tensor(weights, dtype="float32")
    centre = deltas[..., :2] * source[..., 2:] + source[..., :2]
    size = deltas[..., 2:].clip(max=MAX_LOG_SCALE).exp() * source[..., 2:]
    return cxcywh_to_xyxy(paddle.concat([centre, size], axis=-1))


def paired_overlap(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Shared and united area, each (...,), of corner boxes (..., 4) one by one."""
    low = paddle.maximum(first[..., :2], second[..., :2])
    high = paddle.minimum(first[..., 2:], second[..., 2:])
    shared = area(paddle.concat([low, high], axis=-1))
    return shared, area(first) + area(second) - shared


def encode_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """How far the sides of corner ``boxes`` (..., 4) are from ``points`` (..., 2) x, y: l, t, r, b (..., 4)."""
    return paddle.concat([points - boxes[..., :2], boxes[..., 2:] - points], axis=-1)


def decode_distances(points: Tensor, distances: Tensor) -> Tensor:
    """The inverse of :func:`encode_distances`: corner boxes (..., 4) around ``points`` (..., 2)."""
    return paddle.concat([points - distances[..., :2], points + distances[..., 2:]], axis=-1)
