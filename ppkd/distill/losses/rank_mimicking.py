"""Rank mimicking: which place fits a box best (Li et al., AAAI 2022, arXiv 2112.04840)."""

from __future__ import annotations

from typing import Literal, Unpack

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.cells.answering import answering
from ppkd.distill.loss import DistillLoss, Needs, Wiring
from ppkd.distill.side import Progress, Side
from ppkd.models.postprocess.dense_decode import count_places, join_levels
from ppkd.structures import DetectorSpec
from ppkd.structures.truth import Truth

Score = Literal["logits", "probabilities"]


class RankMimickingLoss(nn.Layer):
    """KL(teacher || student) of the distributions over the places that answer for a box.

    The softmax of a box runs over its places' scores for the class of the box. The divergence, a sum over places, is
    averaged over the boxes of an image that have a place, and then over all images (the paper's formula from memory).

    Args:
        score: what of the class logits goes into the softmax.
        ordered: sort the scores of a box before they are compared, which forgets whose they are. Together with
            probabilities this is the later one of two public drafts in MMRazor, with logits and unsorted the earlier.
    """

    def __init__(self, score: Score = "logits", ordered: bool = False) -> None:
        super().__init__()
        self.score, self.ordered = score, ordered

    def forward(self, stu_logits: Tensor, tea_logits: Tensor, positive: Tensor, box: Tensor, labels: Tensor) -> Tensor:
        """The loss of class logits [N, P, C], a scalar.

        ``positive`` bool [N, P] are the places that answer for a box, ``box`` int64 [N, P] says for which of the M
        boxes of an image, ``labels`` int64 [N, M] their classes.
        """
        boxes = labels.shape[1]
        group = paddle.where(positive, box, paddle.full_like(box, boxes))
        label = paddle.take_along_axis(labels, box, axis=1).unsqueeze(2)
        student, teacher = (self._scores(logits, label) for logits in (stu_logits, tea_logits.detach()))
        if self.ordered:
            student, teacher, group = _ordered(student, group), _ordered(teacher, group), group.sort(axis=1)
        student_log, teacher_log = (_log_softmax(scores, group, boxes + 1) for scores in (student, teacher))
        divergence = _sums(teacher_log.exp() * (teacher_log - student_log), group, boxes + 1)[:, :boxes]
        places = _sums(paddle.ones_like(teacher), group, boxes + 1)[:, :boxes]
        answered = (places > 0).astype("float32").sum(axis=1)
        return (divergence.sum(axis=1) / answered.clip(min=1)).mean()

    def _scores(self, logits: Tensor, label: Tensor) -> Tensor:
        chosen = paddle.take_along_axis(logits, label, axis=2).squeeze(2)
        return F.sigmoid(chosen) if self.score == "probabilities" else chosen


def _log_softmax(scores: Tensor, group: Tensor, groups: int) -> Tensor:
    """Logarithms of the softmax of ``scores`` [N, P] within each ``group`` int64 [N, P] of an image."""
    lowest = paddle.full([scores.shape[0], groups], -3e38)
    top = lowest.put_along_axis(group, scores.detach(), 1, reduce="amax")
    centred = scores - paddle.take_along_axis(top, group, axis=1)
    return centred - paddle.take_along_axis(_sums(centred.exp(), group, groups).clip(min=1e-30).log(), group, axis=1)


def _sums(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Sums [N, groups] of ``values`` [N, P]."""
    return paddle.zeros([values.shape[0], groups]).put_along_axis(group, values, 1, reduce="add")


def _ordered(scores: Tensor, group: Tensor) -> Tensor:
    """The scores [N, P], group after group, the highest of each first."""
    rank = scores.detach().argsort(axis=1, descending=True).argsort(axis=1)
    order = (group * scores.shape[1] + rank).argsort(axis=1)
    return paddle.take_along_axis(scores, order, axis=1)


@register
class RankMimicking(DistillLoss):
    """:class:`RankMimickingLoss` over the places that the student's assigner gives to each box.

    Where it gives a box no more than one place, as YOLOv3's does, ATSS finds them.

    Args:
        student: what the student records.
        teacher: what the teacher records, with the same classes and anchors.
        score: what of the class logits goes into the softmax.
        ordered: sort the scores of a box before they are compared.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: one of the two records no class logits cell by cell, or classes or anchors differ.
    """

    paper = "2112.04840"
    needs_truth = True
    default_weight = 4.0

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        score: Score = "logits",
        ordered: bool = False,
        **wiring: Unpack[Wiring],
    ) -> None:
        needs = Needs(student=("assign",))
        super().__init__(student, teacher, consumes=["cls_logits"], needs=needs, kind="grid", **wiring)
        if score == "probabilities":
            student.require_activation("cls_logits", "sigmoid", "RankMimicking")
        self.strides = student.entries["cls_logits"].strides
        self.formula = RankMimickingLoss(score=score, ordered=ordered)

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        levels, soft_levels = student.record["cls_logits"], teacher.record["cls_logits"]
        pairs = self.pairs["cls_logits"]
        found = answering(levels, self.strides, student, truth)
        positive, box = (places.split(count_places(levels), axis=1) for places in (found.positive, found.box))
        return self.formula(
            join_levels([levels[pair.student] for pair in pairs]),
            join_levels([soft_levels[pair.teacher] for pair in pairs]),
            paddle.concat([positive[pair.student] for pair in pairs], axis=1),
            paddle.concat([box[pair.student] for pair in pairs], axis=1),
            truth.labels,
        )
