"""PFI: prediction-guided feature imitation (Li et al., AAAI 2022, arXiv 2112.04840)."""

from __future__ import annotations

from typing import Literal, Unpack

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.level_loss import LevelLoss
from ppkd.distill.loss import Wiring
from ppkd.distill.maps import default_conv, require_equal_channels
from ppkd.distill.pairing import common_levels
from ppkd.distill.side import Progress, Side
from ppkd.structures import DetectorSpec
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

Prediction = Literal["probabilities", "logits"]


class PFIFeatureLoss(nn.Layer):
    """mean over images and cells of mean_c (P_s - P_t)^2 * mean_k (A F_s - F_t)^2 of one level, with predictions P.

    The formula is the paper's from memory, where P are probabilities and A adapts the student's features F. The
    gradient flows through both factors, as in the only public code, a draft in MMRazor; that compares ``logits``
    and adapts nothing.

    Args:
        student_channels: channels of the student's map.
        teacher_channels: channels of the teacher's map.
        adapt: put a 1x1 convolution before the comparison of features.
        prediction: what of the class logits is compared.

    Raises:
        SpecError: channels differ and nothing adapts them.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        adapt: bool = True,
        prediction: Prediction = "probabilities",
    ) -> None:
        super().__init__()
        if not adapt:
            require_equal_channels("PFI.adapt is false", student_channels, teacher_channels, "set it to true")
        self.prediction = prediction
        self.adapt = default_conv(student_channels, teacher_channels, 1) if adapt else nn.Identity()

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, stu_logits: Tensor, tea_logits: Tensor) -> Tensor:
        """The loss of features [N, C, H, W] and class logits [N, K, H, W], a scalar."""
        predicted, wanted = stu_logits, tea_logits.detach()
        if self.prediction == "probabilities":
            predicted, wanted = F.sigmoid(predicted), F.sigmoid(wanted)
        disagreement = _mean_square(predicted - wanted)
        return (disagreement * _mean_square(self.adapt(stu_feature) - tea_feature.detach())).mean()


def _mean_square(gap: Tensor) -> Tensor:
    return (gap * gap).mean(axis=1)


@register
class PFI(LevelLoss):
    """The mean of :class:`PFIFeatureLoss` over the levels whose necks and class logits pair.

    Args:
        student: what the student records.
        teacher: what the teacher records, with the same classes and anchors.
        adapt: put a 1x1 convolution before the comparison of features.
        prediction: what of the class logits is compared.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: one of the two records no class logits, classes or anchors differ, or channels do and nothing
            adapts them.
    """

    paper = "2112.04840"
    default_weight = 1.5
    mean = True

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        adapt: bool = True,
        prediction: Prediction = "probabilities",
        **wiring: Unpack[Wiring],
    ) -> None:
        super().__init__(student, teacher, consumes=["neck", "cls_logits"], kind="grid", **wiring)
        if prediction == "probabilities":
            student.require_activation("cls_logits", "sigmoid", "PFI")
        self.levels = common_levels(type(self).__name__, self.pairs, student, teacher)
        by_stride = dict(zip((pair.stride for pair in self.pairs["neck"]), self.channels["neck"], strict=True))
        channels = [by_stride[neck.stride] for neck, _ in self.levels]
        try:
            formulas = [PFIFeatureLoss(*level, adapt=adapt, prediction=prediction) for level in channels]
        except SpecError as error:
            raise SpecError(f"{student.name} from {teacher.name}: {error}") from error
        self.formulas = nn.LayerList(formulas)

    @property
    def level_strides(self) -> list[int]:
        """The strides at which necks and class logits pair."""
        return [neck.stride for neck, _ in self.levels]

    def values(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> list[Tensor]:
        """The formula's value for each level."""
        return [
            formula(
                student.record["neck"][neck.student],
                teacher.record["neck"][neck.teacher],
                student.record["cls_logits"][logits.student].flatten(1, 2),
                teacher.record["cls_logits"][logits.teacher].flatten(1, 2),
            )
            for formula, (neck, logits) in zip(self.formulas, self.levels, strict=True)
        ]
