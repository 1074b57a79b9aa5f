"""Relations between boxes: to prototypes (arXiv 2210.09022), and among each other (RKD, arXiv 1904.05068)."""

from __future__ import annotations

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.distill.distances import relative_distances
from ppkd.distill.means import masked_mean


def prototype_relation(student: Tensor, teacher: Tensor, weights: Tensor, known: Tensor) -> Tensor:
    """The mean smooth L1 difference of weighted cosines with the prototypes, a scalar; 0 without any.

    Args:
        student: its cosines [N, M, classes, K].
        teacher: likewise.
        weights: of the boxes, float32 [N, M].
        known: which boxes and prototypes count, bool [N, M, classes, K].
    """
    factor = weights.unsqueeze(-1).unsqueeze(-1)
    return masked_mean(F.smooth_l1_loss(factor * student, factor * teacher, reduction="none"), known)


def distance_relation(student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
    """The mean smooth L1 difference of the distances between boxes, each in units of their mean, a scalar.

    Two boxes at least are needed; otherwise it is 0, where the published code divides by nothing.

    Args:
        student: its features of M boxes [M, C].
        teacher: likewise, [M, C'].
        real: which of them count, bool [M].
    """
    # Boxes that cover the same cells have equal features: only exact differences are 0 there, without a gradient.
    distances = (relative_distances(rows, real, exact=True) for rows in (student, teacher))
    pairs = real.unsqueeze(0) & real.unsqueeze(1)
    return masked_mean(F.smooth_l1_loss(*distances, reduction="none"), pairs)


def angle_relation(student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
    """The mean smooth L1 difference of the cosines of all angles between three boxes, a scalar.

    Arguments are those of :func:`distance_relation`; M^3 cosines are held.
    """
    triples = real.reshape([-1, 1, 1]) & real.reshape([1, -1, 1]) & real.reshape([1, 1, -1])
    return masked_mean(F.smooth_l1_loss(_angles(student), _angles(teacher), reduction="none"), triples)


def rkd(student: Tensor, teacher: Tensor, real: Tensor, most: int) -> Tensor:
    """Twice the relation of angles plus that of distances among the first ``most`` boxes that are ``real``.

    Boxes of other processes or accumulated batches have no part in it, so that its value depends on how an update's
    batch is divided. ``student`` [N, M, C] and ``teacher`` [N, M, C'] are the features of all boxes, ``real`` is bool
    [N, M].
    """
    first = paddle.argsort(1 - real.flatten().astype("int64"), stable=True)[:most]
    student, teacher = (features.flatten(0, 1).index_select(first) for features in (student, teacher))
    known = real.flatten().index_select(first)
    return 2.0 * angle_relation(student, teacher, known) + distance_relation(student, teacher, known)


def _angles(features: Tensor) -> Tensor:
    """Cosines [M, M, M] of the angle at the first of three rows; where two are equal they are 0."""
    differences = features.unsqueeze(0) - features.unsqueeze(1)
    squares = (differences * differences).sum(axis=-1, keepdim=True)
    apart = squares > 0
    units = differences / paddle.where(apart, squares, paddle.ones_like(squares)).sqrt()
    return paddle.matmul(units, units, transpose_y=True)
