"""CLoCKDistill: the memory of queries, objects and background apart (Lan and Tian, arXiv 2502.10683)."""

from __future__ import annotations

from paddle import Tensor, nn

from ppkd.config import register
from ppkd.distill.cells.masks import box_masks
from ppkd.distill.level_wise import level_wise
from ppkd.distill.maps import align_conv, squared_error
from ppkd.structures import Batch
from ppkd.structures.truth import Truth, as_truth


class CLoCKFeatureLoss(nn.Layer):
    """Squared differences of two maps, summed over channels and cells, mean over images (arXiv 2502.10683).

    A cell inside a box weighs ``alpha_clock`` / area of the smallest one over it, another ``beta_clock`` / number of
    cells without a box, as in FGD, whose attentions and relations it leaves out.

    Args:
        student_channels: channels of the student's map; where they differ from the teacher's, a 1x1 convolution aligns.
        teacher_channels: channels of the teacher's map.
        alpha_clock: weight of objects.
        beta_clock: weight of the background.
    """

    def __init__(
        self,
        student_channels: int = 256,
        teacher_channels: int = 256,
        alpha_clock: float = 5e-5,
        beta_clock: float = 1e-7,
    ) -> None:
        super().__init__()
        self.alpha_clock, self.beta_clock = alpha_clock, beta_clock
        self.align = align_conv(student_channels, teacher_channels)

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, truth: Truth | Batch) -> Tensor:
        """The loss of maps [N, C, H, W], a scalar; ``truth`` may be a batch with ``gt_bbox`` and ``im_shape``."""
        truth = as_truth(truth)
        student = stu_feature if self.align is None else self.align(stu_feature)
        objects, background = box_masks(truth.boxes, truth.image_shape, *tea_feature.shape[2:])
        weight = self.alpha_clock * objects + self.beta_clock * background
        return (squared_error(student, tea_feature) * weight).sum() / tea_feature.shape[0]


CLoCK = register(
    level_wise(
        CLoCKFeatureLoss,
        notes="The paper compares memories, ``consumes: [memory]``. Its other part, queries made of the ground truth\n"
        "that both decoders answer, is left out.",
        paper="2502.10683",
        needs_truth=True,
    )
)
