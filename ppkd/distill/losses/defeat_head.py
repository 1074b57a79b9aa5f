"""DeFeat's part on the second stage: classes of objects and of the background apart (Guo et al., CVPR 2021)."""

from __future__ import annotations

from typing import Any, cast

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.loss import DistillLoss
from ppkd.distill.schedule import WeightSchedule
from ppkd.models.losses.normaliser import over_batch
from ppkd.structures import DetectorSpec, Record


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
        ours = F.log_softmax(stu_logits / self.T, axis=-1)
        theirs = F.log_softmax(tea_logits.detach() / self.T, axis=-1)
        divergence = (theirs.exp() * (theirs - ours)).sum(axis=-1) * self.T**2
        objects = _mean(divergence, (labels >= 0) & (labels < last))
        return self.foreground * objects + self.background * _mean(divergence, labels == last)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    weight = chosen.astype("float32")
    return (values * weight).sum() / over_batch(weight.sum()).clip(min=1)


@register
class DeFeatHead(DistillLoss):
    """:class:`DeFeatHeadLoss` on the proposals of two detectors of two stages, labelled as the student's own loss is.

    Both detectors look at the student's proposals. In the authors' default sampling the labels are of other proposals
    than the teacher's numbers; that is not followed.

    Args:
        student: what the student records.
        teacher: what the teacher records, of the same classes.
        T: temperature.
        foreground: weight of the proposals of objects.
        background: weight of those of the background.
        weight: factor on the loss in the total.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: one of the two records no class numbers of proposals, or the classes differ.
    """

    paper = "2103.14475"
    needs_ground_truth = True

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        T: float = 1.0,
        foreground: float = 2.0,
        background: float = 2.0,
        weight: float = 1.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        super().__init__(student, teacher, consumes=["roi_logits"], weight=weight, schedule=schedule)
        self.formula = DeFeatHeadLoss(T=T, foreground=foreground, background=background)

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""
        targets: Any = context.targets
        ours, theirs = cast(RoIRecord, student), cast(RoIRecord, teacher)
        return self.formula(ours.roi_logits, theirs.roi_logits, targets.roi_labels)
