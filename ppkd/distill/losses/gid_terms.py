"""The three terms of GID on tensors (Dai et al., CVPR 2021, arXiv 2103.02340), as the public reproduction has them.

The formulas are those of a reproduction in Detectron2; the paper's, from memory, agree. Nobody gives the teacher a
gradient, and what is not there, instances or places, counts nothing.
"""

from __future__ import annotations

from typing import Literal

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy
from ppkd.models.losses.normaliser import over_batch

FEWEST = 3
"""Fewer instances have no relation."""


def feature_term(ours: Tensor, theirs: Tensor, real: Tensor) -> Tensor:
    """Squared differences of the features [N, K, C, S, S] of instances, a sum over channels and a mean over the cells.

    ``real`` bool [N, K] says which instances there are.
    """
    gap = ours - theirs.detach()
    weight = real.astype("float32")
    cells = ours.shape[3] * ours.shape[4]
    return ((gap * gap).sum(axis=[2, 3, 4]) * weight).sum() / (over_batch(weight.sum()).clip(min=1) * cells)


def relation_term(ours: Tensor, theirs: Tensor, real: Tensor) -> Tensor:
    """Smooth L1 of the distances between any two instances of the batch, each detector's divided by their mean.

    Args:
        ours: features [N, K, C, S, S] of the student.
        theirs: the teacher's.
        real: bool [N, K], which instances there are; fewer than three have no relation.
    """
    weight = real.astype("float32").flatten()
    pairs = paddle.outer(weight, weight) * (1.0 - paddle.eye(weight.shape[0]))
    count = pairs.sum()
    enough = (weight.sum() >= FEWEST).astype("float32")
    spread, soft_spread = (_distances(rows.flatten(0, 1).flatten(1), pairs, weight) for rows in (ours, theirs.detach()))
    errors = F.smooth_l1_loss(spread, soft_spread, reduction="none") * pairs
    return enough * errors.sum() / count.clip(min=1)


def _distances(rows: Tensor, pairs: Tensor, weight: Tensor) -> Tensor:
    """Distances [M, M] of ``rows`` [M, D] over their mean among ``pairs``; elsewhere 0, without gradient."""
    centre = (rows * weight.unsqueeze(1)).sum(axis=0, keepdim=True) / weight.sum().clip(min=1)
    rows = (rows - centre.detach()) * weight.unsqueeze(1)
    square = (rows * rows).sum(axis=1)
    apart = square.unsqueeze(0) + square.unsqueeze(1) - 2.0 * paddle.matmul(rows, rows, transpose_y=True)
    counted = (apart > 0) & (pairs > 0)
    distance = paddle.where(counted, apart, paddle.ones_like(apart)).sqrt() * counted.astype("float32")
    mean = distance.sum() / pairs.sum().clip(min=1)
    return distance / paddle.where(mean > 0, mean, paddle.ones_like(mean))


def response_terms(
    classes: tuple[Tensor, Tensor],
    boxes: tuple[Tensor, Tensor],
    chosen: Tensor,
    activation: Literal["sigmoid", "softmax"] = "sigmoid",
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of classes and absolute differences of box numbers, sums at a place, means over the chosen places.

    Args:
        classes: the student's and the teacher's logits [N, P, C].
        boxes: the student's and the teacher's box numbers [N, P, K].
        chosen: bool [N, P].
        activation: whether every class is a question of its own, as published, or they share one answer.
    """
    weight = chosen.astype("float32")
    count = over_batch(weight.sum()).clip(min=1)
    ours, theirs = classes[0], classes[1].detach()
    if activation == "sigmoid":
        entropy = binary_cross_entropy(ours, F.sigmoid(theirs)).sum(axis=2)
    else:
        entropy = -(F.softmax(theirs, axis=2) * F.log_softmax(ours, axis=2)).sum(axis=2)
    gap = (boxes[0] - boxes[1].detach()).abs().sum(axis=2)
    return (entropy * weight).sum() / count, (gap * weight).sum() / count
