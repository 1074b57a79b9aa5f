"""DeFeat's part on the second stage: classes of objects and of the background apart (Guo et al., CVPR 2021)."""

from __future__ import annotations

from typing import Unpack

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.loss import DistillLoss, Needs, Wiring
from ppkd.distill.means import masked_mean
from ppkd.distill.proposals import require_proposals
from ppkd.distill.side import Progress, Side
from ppkd.structures import DetectorSpec
from ppkd.structures.truth import Truth


class DeFeatHeadLoss(nn.Layer):
    """T^2 KL(teacher || student), a sum over classes, apart for proposals of objects and of the background.

    foreground * mean over the former + background * mean over the latter (arXiv 2103.14475, after the authors' code);
    a part without proposals gives 0.

    Args:
        T: temperature.
        foreground: weight of the proposals of objects.
        background: weight of those of the background.
    """

    def __init__(self, T: float = 1.0, foreground: float = 2.0, background: float = 2.0) -> None:
        super().__init__()
        self.T, self.foreground, self.background = T, foreground, background

    def forward(self, stu_logits: Tensor, tea_logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits [..., C + 1], the background last, a scalar.

        ``labels`` int64 [...] are the class, C for background, -1 for proposals that do not count.
        """
        last = stu_logits.shape[-1] - 1
        student = F.log_softmax(stu_logits / self.T, axis=-1)
        teacher = F.log_softmax(tea_logits.detach() / self.T, axis=-1)
        divergence = (teacher.exp() * (teacher - student)).sum(axis=-1) * self.T**2
        objects = masked_mean(divergence, (labels >= 0) & (labels < last))
        return self.foreground * objects + self.background * masked_mean(divergence, labels == last)


@register
class DeFeatHead(DistillLoss):
    """:class:`DeFeatHeadLoss` on the proposals of two detectors of two stages, labelled as the student's own loss is.

    Both detectors record the student's proposals. In the authors' default sampling the labels are of other proposals
    than the teacher's numbers; that is not followed.

    Args:
        student: what the student records.
        teacher: what the teacher records, of the same classes.
        T: temperature.
        foreground: weight of the proposals of objects.
        background: weight of those of the background.
        wiring: see :class:`ppkd.distill.loss.Wiring`.

    Raises:
        SpecError: one of the two records no class numbers of proposals, the classes differ, or the teacher cannot
            record at the student's proposals.
    """

    paper = "2103.14475"
    needs_truth = True

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        T: float = 1.0,
        foreground: float = 2.0,
        background: float = 2.0,
        **wiring: Unpack[Wiring],
    ) -> None:
        entries = require_proposals("DeFeatHead", student, teacher)
        needs = Needs(student=("assign",), teacher=("at",))
        super().__init__(student, teacher, consumes=[entries.classes], needs=needs, kind="rows", **wiring)
        self.classes = entries.classes
        self.formula = DeFeatHeadLoss(T=T, foreground=foreground, background=background)

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        # Stages pair from the last one, which gives the detections.
        logits = (side.record[self.classes][-1] for side in (student, teacher))
        return self.formula(*logits, student.targets.roi_labels)
