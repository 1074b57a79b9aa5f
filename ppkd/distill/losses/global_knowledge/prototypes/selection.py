"""Which instances of a class stand for all of it, in the student's and in the teacher's features at once.

Prototype generation of "Distilling Object Detectors with Global Knowledge" (Tang et al., ECCV 2022, arXiv 2210.09022),
after the formulas of the published code, in float32 instead of half precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import paddle
from paddle import Tensor
from paddle.nn import functional as F

BLOCK = 1024
"""The side of the blocks of similarities that are held at once: 4 MiB, which a processor's cache can hold."""


@dataclass(frozen=True)
class Choice:
    """One prototype: which instance, and how it serves the others.

    ``objective`` float32 (K,) is what each of the K candidates would leave unexplained; ``student`` and ``teacher``
    float32 (n,) are the coefficients of the chosen one.
    """

    index: int
    objective: Tensor
    student: Tensor
    teacher: Tensor


@paddle.no_grad()
def select(student: Tensor, teacher: Tensor, settings: Selection) -> list[int]:
    """The rows of the prototypes, in the order in which they were chosen.

    The time is that of the densities, n^2 C, and of ``count`` steps of n C^2 each; of all pairs of instances a
    block is held at once, so that the memory is linear in n.

    Args:
        student: features of n >= 1 instances of one class on one level, float32 (n, C).
        teacher: features of the same instances, float32 (n, C'); C' need not be C.
        settings: how to choose.
    """
    student, teacher = (F.normalize(features, axis=1) for features in (student, teacher))
    densities = density(student, settings.sigma), density(teacher, settings.sigma)
    candidates = dense_instances(*densities, settings.quantile)
    return [choice.index for choice in choices(student, teacher, candidates, settings)]


@dataclass(frozen=True)
class Selection:
    """How prototypes are chosen; the defaults are the published ones.

    Attributes:
        count: prototypes of each class on each level.
        alpha: how much the two spaces have to agree on what an instance is made of.
        quantile: instances whose density is above this quantile in both spaces are candidates.
        sigma: width of the density's kernel, in units of 1 - cosine.
        repeat: an instance may be chosen again, as published; otherwise there may be fewer than ``count``.
    """

    count: int = 10
    alpha: float = 10.0
    quantile: float = 0.4
    sigma: float = 0.1
    repeat: bool = True

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is {self.count}: give 1 or more")
        if not 0 <= self.quantile < 1:
            raise ValueError(f"quantile is {self.quantile}: give 0 or more, and less than 1")
        if self.alpha < 0 or self.sigma <= 0:
            raise ValueError(f"alpha is {self.alpha} and sigma {self.sigma}: alpha must be 0 or more, sigma positive")


def density(features: Tensor, sigma: float) -> Tensor:
    """sum over m of exp(-((1 - x_n . x_m) / sigma)^2) for rows of unit length (n, C): (n,)."""
    blocks = [features[first : first + BLOCK] for first in range(0, features.shape[0], BLOCK)]
    sums = [paddle.zeros([block.shape[0]]) for block in blocks]
    for i, one in enumerate(blocks):
        for j, other in enumerate(blocks[i:], start=i):
            distance = (1.0 - paddle.matmul(one, other, transpose_y=True)) / sigma
            kernel = paddle.exp(-distance * distance)
            sums[i] += kernel.sum(axis=1)
            if j > i:
                sums[j] += kernel.sum(axis=0)
    return paddle.concat(sums)


def dense_instances(student: Tensor, teacher: Tensor, quantile: float) -> Tensor:
    """The instances that are dense in both spaces, given densities (n,) in each: int64 (K,), ascending, K >= 1.

    Dense is what lies strictly above the quantile. Where that leaves nothing, as with a single instance, which the
    published code does not survive, what lies on it counts too, and then everything.
    """
    thresholds = [values.sort()[int(quantile * values.shape[0])] for values in (student, teacher)]
    above = (student > thresholds[0]) & (teacher > thresholds[1])
    on = (student >= thresholds[0]) & (teacher >= thresholds[1])
    for found in (above, on):
        if found.any():
            return found.nonzero().flatten()
    return paddle.arange(student.shape[0])


def choices(student: Tensor, teacher: Tensor, candidates: Tensor, settings: Selection) -> Iterator[Choice]:
    """Greedily, the candidates that explain most of what is left of rows of unit length (n, C) and (n, C').

    With residuals R and R' of all instances, a candidate p, p' has i = R p and i' = R' p'. The coefficients
    w = (alpha (i + i') + i) / (1 + 2 alpha), and w' alike, minimise |R - w p|^2 + |R' - w' p'|^2 + alpha |w - w'|^2,
    and at the minimum w . i + w' . i' is gone from |R|^2 + |R'|^2. That is a quadratic form of p and p' in the Gram
    matrices of the residuals, so neither the K n C numbers of the formula nor K n products are ever needed.
    """
    left, soft_left = student, teacher
    p, q = student.index_select(candidates), teacher.index_select(candidates)
    weight = settings.alpha
    free = paddle.ones([candidates.shape[0]], dtype="bool")
    for _ in range(settings.count if settings.repeat else min(settings.count, candidates.shape[0])):
        own = _form(p, _gram(left, left), p) + _form(q, _gram(soft_left, soft_left), q)
        gain = ((weight + 1) * own + 2 * weight * _form(p, _gram(left, soft_left), q)) / (1 + 2 * weight)
        objective = (left * left).sum() + (soft_left * soft_left).sum() - gain
        best = paddle.where(free, objective, paddle.full_like(objective, float("inf"))).argmin()
        if not settings.repeat:
            free = free & (paddle.arange(free.shape[0]) != best)
        i, j = (paddle.matmul(rows, one[best]) for rows, one in ((left, p), (soft_left, q)))
        w, v = ((weight * (i + j) + one) / (1 + 2 * weight) for one in (i, j))
        left, soft_left = left - w.unsqueeze(1) * p[best], soft_left - v.unsqueeze(1) * q[best]
        yield Choice(int(candidates[best]), objective, w, v)


def _gram(first: Tensor, second: Tensor) -> Tensor:
    return paddle.matmul(first, second, transpose_x=True)


def _form(left: Tensor, matrix: Tensor, right: Tensor) -> Tensor:
    """left_k^T matrix right_k for every row k: (K,)."""
    return (paddle.matmul(left, matrix) * right).sum(axis=1)
