"""Relations between boxes: to prototypes (arXiv 2210.09022), and among each other (RKD, arXiv 1904.05068)."""

from __future__ import annotations

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.models.losses.normaliser import over_batch

LEAST = 1e-12


def prototype_relation(ours: Tensor, theirs: Tensor, weights: Tensor, known: Tensor) -> Tensor:
    """The mean smooth L1 difference of weighted cosines with the prototypes, a scalar; 0 without any.

    Args:
        ours: the student's cosines [N, M, classes, K].
        theirs: the teacher's.
        weights: of the boxes, float32 [N, M].
        known: which boxes and prototypes count, bool [N, M, classes, K].
    """
    factor = weights.unsqueeze(-1).unsqueeze(-1)
    return _mean(F.smooth_l1_loss(factor * ours, factor * theirs, reduction="none"), known)


def distance_relation(ours: Tensor, theirs: Tensor, real: Tensor) -> Tensor:
    """The mean smooth L1 difference of the distances between boxes, each in units of their mean, a scalar.

    Two boxes at least are needed; otherwise it is 0, where the published code divides by nothing.

    Args:
        ours: the student's features of M boxes (M, C).
        theirs: the teacher's (M, C').
        real: which of them count, bool (M,).
    """
    pairs = real.unsqueeze(0) & real.unsqueeze(1)
    others = pairs & ~paddle.eye(real.shape[0]).astype("bool")
    keep = others.astype("float32")
    least = keep.sum().clip(min=1) * LEAST
    distances = [_distances(features) * keep for features in (ours, theirs)]
    scaled = [one * keep.sum() / one.sum().clip(min=least) for one in distances]
    return _mean(F.smooth_l1_loss(*scaled, reduction="none"), pairs)


def angle_relation(ours: Tensor, theirs: Tensor, real: Tensor) -> Tensor:
    """The mean smooth L1 difference of the cosines of all angles between three boxes, a scalar.

    Arguments are those of :func:`distance_relation`; M^3 cosines are held.
    """
    triples = real.reshape([-1, 1, 1]) & real.reshape([1, -1, 1]) & real.reshape([1, 1, -1])
    return _mean(F.smooth_l1_loss(_angles(ours), _angles(theirs), reduction="none"), triples)


def _differences(features: Tensor) -> Tensor:
    return features.unsqueeze(0) - features.unsqueeze(1)


def _squares(differences: Tensor) -> Tensor:
    return (differences * differences).sum(axis=-1)


def _distances(features: Tensor) -> Tensor:
    """Distances (M, M) of rows (M, C); equal ones, themselves included, are 1e-6 apart, with gradient 0."""
    return _squares(_differences(features)).clip(min=LEAST).sqrt()


def _angles(features: Tensor) -> Tensor:
    """Cosines (M, M, M) of the angle at the first of three rows; where two are equal they are 0."""
    differences = _differences(features)
    squares = _squares(differences).unsqueeze(-1)
    apart = squares > 0
    units = differences / paddle.where(apart, squares, paddle.ones_like(squares)).sqrt()
    return paddle.matmul(units, units, transpose_y=True)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """The mean of those ``values`` that are ``counted`` in the whole batch, 0 if none is."""
    shares = counted.astype("float32")
    return (values * shares).sum() / over_batch(shares.sum()).clip(min=1)
