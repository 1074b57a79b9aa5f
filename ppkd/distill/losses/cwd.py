"""CWD: channel-wise distillation (Shu et al., ICCV 2021, arXiv 2011.13256)."""

from __future__ import annotations

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.level_wise import level_wise
from ppkd.distill.maps import align_conv, feature_norm


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

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, truth: object = None) -> Tensor:
        """The loss of maps [N, C, H, W], a scalar; ``truth`` is not read."""
        student = stu_feature if self.align is None else self.align(stu_feature)
        teacher = tea_feature.detach()
        if self.normalize:
            student, teacher = feature_norm(student), feature_norm(teacher)
        rows = (student.flatten(2).flatten(0, 1) / self.tau, teacher.flatten(2).flatten(0, 1) / self.tau)
        return _divergence(*rows) * (self.loss_weight * self.tau**2)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean KL(softmax(teacher) || softmax(student)) of the rows of logits (M, cells): cross entropy less entropy.

    Both are one fused kernel, where ``log_softmax`` on a processor takes fifty times as long.
    """
    target = F.softmax(teacher, axis=1)
    cross, own = (F.cross_entropy(logits, target, soft_label=True, reduction="none") for logits in (student, teacher))
    return (cross - own).mean()


CWD = register(
    level_wise(
        CWDFeatureLoss,
        notes="Published weights are 10 for necks and 5 for the class maps of GFL (``consumes: [cls_logits]``).",
        paper="2011.13256",
        weight=10.0,
    )
)
