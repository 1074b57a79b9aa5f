"""PFI: prediction-guided feature imitation (Li et al., AAAI 2022, arXiv 2112.04840)."""

from __future__ import annotations

from typing import Literal, cast

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.loss import DistillLoss
from ppkd.distill.pairing import LevelPair
from ppkd.distill.schedule import WeightSchedule
from ppkd.structures import DetectorSpec, Record
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
        if not adapt and student_channels != teacher_channels:
            raise SpecError(
                f"PFI.adapt is false, but the maps have {student_channels} (student) and {teacher_channels} (teacher) "
                "channels: set it to true"
            )
        self.prediction = prediction
        self.adapt = nn.Conv2D(student_channels, teacher_channels, 1) if adapt else nn.Identity()

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, stu_logits: Tensor, tea_logits: Tensor) -> Tensor:
        """The loss of features [N, C, H, W] and class logits [N, K, H, W], a scalar."""
        ours, theirs = stu_logits, tea_logits.detach()
        if self.prediction == "probabilities":
            ours, theirs = F.sigmoid(ours), F.sigmoid(theirs)
        disagreement = _mean_square(ours - theirs)
        return (disagreement * _mean_square(self.adapt(stu_feature) - tea_feature.detach())).mean()


def _mean_square(gap: Tensor) -> Tensor:
    return (gap * gap).mean(axis=1)


@register
class PFI(DistillLoss):
    """The mean of :class:`PFIFeatureLoss` over the levels whose necks and class logits pair.

    Args:
        student: what the student records.
        teacher: what the teacher records, with the same classes and anchors.
        adapt: put a 1x1 convolution before the comparison of features.
        prediction: what of the class logits is compared.
        weight: factor on the loss in the total.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: one of the two records no class logits, classes or anchors differ, or channels do and nothing
            adapts them.
    """

    paper = "2112.04840"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        adapt: bool = True,
        prediction: Prediction = "probabilities",
        weight: float = 1.5,
        schedule: WeightSchedule | None = None,
    ) -> None:
        super().__init__(student, teacher, consumes=["neck", "cls_logits"], weight=weight, schedule=schedule)
        necks = {pair.stride: pair for pair in self.pairs["neck"]}
        self.levels: list[tuple[LevelPair, LevelPair]] = [
            (necks[pair.stride], pair) for pair in self.pairs["cls_logits"] if pair.stride in necks
        ]
        ours, theirs = student.entries["neck"], teacher.entries["neck"]
        channels = [(ours[neck.student].channels, theirs[neck.teacher].channels) for neck, _ in self.levels]
        try:
            formulas = [PFIFeatureLoss(*level, adapt=adapt, prediction=prediction) for level in channels]
        except SpecError as error:
            raise SpecError(f"{student.name} from {teacher.name}: {error}") from error
        self.formulas = nn.LayerList(formulas)

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""
        ours, theirs = cast(DenseRecord, student), cast(DenseRecord, teacher)
        values = [
            formula(
                ours.neck[neck.student],
                theirs.neck[neck.teacher],
                ours.cls_logits[logits.student].flatten(1, 2),
                theirs.cls_logits[logits.teacher].flatten(1, 2),
            )
            for formula, (neck, logits) in zip(self.formulas, self.levels, strict=True)
        ]
        return paddle.add_n(values) / len(values)
