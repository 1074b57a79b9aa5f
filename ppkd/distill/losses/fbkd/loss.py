"""FBKD: attention-guided and non-local distillation of features (Zhang and Ma, ICLR 2021, OpenReview uKhGRvM8QNH)."""

from __future__ import annotations

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.level_wise import level_wise
from ppkd.distill.losses.fbkd.non_local import NonLocal
from ppkd.distill.maps import default_conv, default_start
from ppkd.models.losses.normaliser import norm_over_batch


class FBKDFeatureLoss(nn.Layer):
    """Attention-guided and non-local distillation of one level ("Improve Object Detection with Feature-based Knowledge
    Distillation: Towards Accurate and Efficient Detectors").

    The sum of four Euclidean norms, each over the whole batch of an update and not divided by its size. Divided among
    processes or accumulated batches the first three are still those of the whole; the relations' is not, because the
    non-local blocks normalise by the statistics of each part. With S and T the maps:

    * features: of (T - A S) sqrt(M), A a 1x1 convolution and M the mean of both maps' attentions
      HW softmax(mean_c |x| / temp), without a gradient;
    * channels: of mean_hw T - B mean_hw S, B fully connected;
    * cells: of mean_c T - C mean_c S, C a 3x3 convolution;
    * relations: of NL(T) - D NL(S), with a :class:`NonLocal` block for each side and a 1x1 convolution D.

    Everything trains, the teacher's block too. The formula is that of the paper's port to MMRazor, where the attention
    over channels is not used; there the windows are pooled by 2 before, so ``maxpool_stride`` is half as large.

    Args:
        student_channels: channels of the student's map.
        teacher_channels: channels of the teacher's map.
        reduction: the inner channels of the non-local blocks are so many times fewer.
        maxpool_stride: side of the windows by which the non-local blocks pool their keys, in cells.
        temp: temperature of the attentions.
        feature_weight: weight of the features' norm.
        channel_weight: weight of the channels' norm.
        spatial_weight: weight of the cells' norm.
        nonlocal_weight: weight of the relations' norm.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        reduction: int = 4,
        maxpool_stride: int = 8,
        temp: float = 0.5,
        feature_weight: float = 7e-5,
        channel_weight: float = 4e-3,
        spatial_weight: float = 4e-3,
        nonlocal_weight: float = 7e-5,
    ) -> None:
        super().__init__()
        self.temp = temp
        self.feature_weight, self.nonlocal_weight = feature_weight, nonlocal_weight
        self.channel_weight, self.spatial_weight = channel_weight, spatial_weight
        self.adaptation_layers = default_conv(student_channels, teacher_channels, 1)
        start = default_start(student_channels)
        self.channel_wise_adaptation = nn.Linear(student_channels, teacher_channels, **start)
        self.spatial_wise_adaptation = default_conv(1, 1, 3)
        self.student_non_local = NonLocal(student_channels, reduction, maxpool_stride)
        self.non_local_adaptation = default_conv(student_channels, teacher_channels, 1)
        self.teacher_non_local = NonLocal(teacher_channels, reduction, maxpool_stride)

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, truth: object = None) -> Tensor:
        """The loss of maps [N, C, H, W], a scalar; ``truth`` is not read."""
        student, teacher = stu_feature, tea_feature.detach()
        mask = ((self._attention(student) + self._attention(teacher)) / 2).detach()
        features = _norm((teacher - self.adaptation_layers(student)) * mask.sqrt())
        channels = _norm(teacher.mean(axis=[2, 3]) - self.channel_wise_adaptation(student.mean(axis=[2, 3])))
        cells = _norm(
            teacher.mean(axis=1, keepdim=True) - self.spatial_wise_adaptation(student.mean(axis=1, keepdim=True))
        )
        relations = _norm(self.teacher_non_local(teacher) - self.non_local_adaptation(self.student_non_local(student)))
        return (
            self.feature_weight * features
            + self.channel_weight * channels
            + self.spatial_weight * cells
            + self.nonlocal_weight * relations
        )

    def attentions(self, feature: Tensor) -> dict[str, Tensor]:
        """The teacher's ``spatial`` attention [N, HW] of its map [N, C, H, W]; its mean is 1."""
        return {"spatial": self._attention(feature).flatten(1)}

    def _attention(self, feature: Tensor) -> Tensor:
        """Spatial attention [N, 1, H, W]; its mean is 1."""
        size = feature.abs().mean(axis=1, keepdim=True)
        cells = size.shape[2] * size.shape[3]
        return (F.softmax(size.flatten(2) / self.temp, axis=2) * cells).reshape(size.shape)


def _norm(values: Tensor) -> Tensor:
    """The Euclidean norm of all ``values`` in the batch of the update, a scalar; its gradient at zero is zero."""
    return norm_over_batch((values * values).sum())


FBKD = register(
    level_wise(
        FBKDFeatureLoss,
        notes="The defaults are published for Faster R-CNN, on the four finest levels.",
        paper="uKhGRvM8QNH",
        by_level={"reduction": (4, 4, 2), "maxpool_stride": (8, 4, 2)},
    )
)
