"""CWD: channel-wise distillation (Shu et al., ICCV 2021, arXiv 2011.13256)."""

from __future__ import annotations

from collections.abc import Sequence

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.losses.level_wise import LevelWise, align_conv, feature_norm
from ppkd.distill.schedule import WeightSchedule
from ppkd.structures import Batch, DetectorSpec


class CWDFeatureLoss(nn.Layer):
    """Channel-wise distillation of one level (arXiv 2011.13256).

    Every channel of every image is a distribution over cells, softmax_hw(x / tau); the loss is
    weight * tau^2 * KL(teacher || student), summed over cells, mean over channels and images.

    Args:
        student_channels: channels of the student's map; where they differ from the teacher's, a 1x1 convolution aligns.
        teacher_channels: channels of the teacher's map.
        normalize: bring both maps to zero mean and unit deviation per channel first.
        tau: temperature.
        weight: factor on the loss.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        normalize: bool = False,
        tau: float = 1.0,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.normalize, self.tau, self.loss_weight = normalize, tau, weight
        self.align = align_conv(student_channels, teacher_channels)

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, batch: Batch | None = None) -> Tensor:
        """The loss of maps [N, C, H, W], a scalar."""
        ours = stu_feature if self.align is None else self.align(stu_feature)
        theirs = tea_feature.detach()
        if self.normalize:
            ours, theirs = feature_norm(ours), feature_norm(theirs)
        rows = (ours.flatten(2).flatten(0, 1) / self.tau, theirs.flatten(2).flatten(0, 1) / self.tau)
        return _divergence(*rows) * (self.loss_weight * self.tau**2)


def _divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean KL(softmax(theirs) || softmax(ours)) of the rows of logits (M, cells): cross entropy less entropy.

    Both are one fused kernel, where ``log_softmax`` on a processor takes fifty times as long.
    """
    target = F.softmax(theirs, axis=1)
    cross, own = (F.cross_entropy(logits, target, soft_label=True, reduction="none") for logits in (ours, theirs))
    return (cross - own).mean()


@register
class CWD(LevelWise):
    """:class:`CWDFeatureLoss` on every paired level of two necks, or of class maps (``consumes: [cls_logits]``).

    Args:
        student: what the student records.
        teacher: what the teacher records.
        consumes: entries to compare.
        normalize: bring both maps to zero mean and unit deviation per channel first.
        tau: temperature.
        strides: compare levels of these strides only.
        weight: factor on the loss in the total; published are 10 for necks and 5 for the class maps of GFL.
        schedule: how the weight changes with the epoch.
    """

    paper = "2011.13256"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        consumes: Sequence[str] = ("neck",),
        normalize: bool = False,
        tau: float = 1.0,
        strides: Sequence[int] | None = None,
        weight: float = 10.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        def formula(ours: int, theirs: int) -> CWDFeatureLoss:
            return CWDFeatureLoss(ours, theirs, normalize=normalize, tau=tau)

        super().__init__(
            student, teacher, formula=formula, consumes=consumes, strides=strides, weight=weight, schedule=schedule
        )
