"""Masks of the teacher as targets of the student's, at the student's proposals."""

from __future__ import annotations

from typing import Unpack

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.loss import DistillLoss, Needs, Wiring
from ppkd.distill.means import masked_mean
from ppkd.distill.proposals import require_proposals
from ppkd.distill.side import Progress, Side
from ppkd.models.layers.select import take_rows
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy
from ppkd.structures import DetectorSpec
from ppkd.structures.truth import Truth


class MaskKDLoss(nn.Layer):
    """T^2 KL(teacher || student) of inside or outside at each pixel, a mean over the pixels of masks that count.

    Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, for two classes.

    Args:
        T: temperature.
    """

    def __init__(self, T: float = 1.0) -> None:
        super().__init__()
        self.T = T

    def forward(self, stu_logits: Tensor, tea_logits: Tensor, counted: Tensor) -> Tensor:
        """The loss of logits [N, F, side, side], a scalar; ``counted`` bool [N, F] are the masks that count."""
        student, teacher = stu_logits / self.T, tea_logits.detach() / self.T
        chances = F.sigmoid(teacher)
        divergence = binary_cross_entropy(student, chances) - binary_cross_entropy(teacher, chances)
        each = divergence.mean(axis=[2, 3]) * self.T**2
        return masked_mean(each, counted)


@register
class MaskKD(DistillLoss):
    """:class:`MaskKDLoss` of both detectors' masks at the student's proposals on objects, of the objects' classes.

    Args:
        student: what the student records.
        teacher: what the teacher records, of the same classes.
        T: temperature.
        wiring: see :class:`ppkd.distill.loss.Wiring`.

    Raises:
        SpecError: one of the two has no masks or no proposals, or the classes differ.
    """

    paper = "1503.02531"
    needs_truth = True

    def __init__(
        self, student: DetectorSpec, teacher: DetectorSpec, *, T: float = 1.0, **wiring: Unpack[Wiring]
    ) -> None:
        entries = require_proposals("MaskKD", student, teacher)
        needs = Needs(student=("assign", "masks"), teacher=("masks",))
        super().__init__(student, teacher, consumes=["neck", entries.classes], needs=needs, **wiring)
        self.proposals, self.background = entries.boxes, student.num_classes
        self.formula = MaskKDLoss(T=T)

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        labels = student.targets.roi_labels
        positive = (labels >= 0) & (labels < self.background)
        # As in the step of Mask R-CNN itself, padding would cost more than the wait for this number.
        most = max(1, int(positive.sum(axis=1).max()))
        index = paddle.argsort((~positive).astype("int32"), axis=1, stable=True)[:, :most]
        boxes = take_rows(student.record[self.proposals][-1], index).detach()
        chosen = paddle.take_along_axis(labels, index, axis=1, broadcast=False)
        counted = (chosen >= 0) & (chosen < self.background)
        return self.formula(student.masks(boxes, chosen), teacher.masks(boxes, chosen), counted)
