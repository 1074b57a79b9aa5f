"""The three terms of GID on tensors (Dai et al., CVPR 2021, arXiv 2103.02340), as the public reproduction has them.

The formulas are those of a reproduction in Detectron2; the paper's, from memory, agree. The teacher gets no gradient,
and what is not there, instances or places, counts nothing.
"""

from __future__ import annotations

from paddle import Tensor
from paddle.nn import functional as F

from ppkd.distill.distances import relative_distances
from ppkd.distill.means import masked_mean
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy
from ppkd.structures import Activation

FEWEST = 3
"""Fewer instances have no relation."""


def feature_term(student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
    """Squared differences of the features [N, K, C, S, S] of instances, a sum over channels and a mean over the cells.

    ``real`` bool [N, K] says which instances there are.
    """
    gap = student - teacher.detach()
    cells = student.shape[3] * student.shape[4]
    return masked_mean((gap * gap).sum(axis=[2, 3, 4]), real) / cells


def relation_term(student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
    """Smooth L1 of the distances between any two instances of the batch, each detector's divided by their mean.

    Those of other processes or accumulated batches have no part in it.

    Args:
        student: its features [N, K, C, S, S].
        teacher: likewise.
        real: bool [N, K], which instances there are; fewer than three have no relation.
    """
    known = real.flatten()
    count = known.astype("float32").sum()
    rows = (features.flatten(0, 1).flatten(1) for features in (student, teacher.detach()))
    # An instance has 25,600 numbers with the defaults: too many for all differences at once.
    errors = F.smooth_l1_loss(*(relative_distances(one, known, exact=False) for one in rows), reduction="none")
    return (count >= FEWEST).astype("float32") * errors.sum() / (count * (count - 1)).clip(min=1)


def response_terms(
    classes: tuple[Tensor, Tensor],
    boxes: tuple[Tensor, Tensor],
    chosen: Tensor,
    activation: Activation = "sigmoid",
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of classes and absolute differences of box numbers, sums at a place, means over the chosen places.

    Args:
        classes: the student's and the teacher's logits [N, P, C].
        boxes: the student's and the teacher's box numbers [N, P, K].
        chosen: bool [N, P].
        activation: ``sigmoid``, as published, where every class is a question of its own, or ``softmax``.
    """
    student, teacher = classes[0], classes[1].detach()
    if activation == "softmax":
        entropy = -(F.softmax(teacher, axis=2) * F.log_softmax(student, axis=2)).sum(axis=2)
    else:
        entropy = binary_cross_entropy(student, F.sigmoid(teacher)).sum(axis=2)
    gap = (boxes[0] - boxes[1].detach()).abs().sum(axis=2)
    return masked_mean(entropy, chosen), masked_mean(gap, chosen)
