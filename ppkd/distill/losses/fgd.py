"""FGD: focal and global distillation of features (Yang et al., CVPR 2022, arXiv 2111.11837)."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.cells.masks import box_masks
from ppkd.distill.explanation import CellMap, Explanation, Lines
from ppkd.distill.level_wise import level_wise
from ppkd.distill.maps import align_conv, feature_norm
from ppkd.structures import Batch
from ppkd.structures.truth import Truth, as_truth

_READ_CELLS = "How much FGD weighs a cell: smaller objects more than large ones, the background by its own factor."
_READ_ATTENTION = (
    "Where the map is large, so where FGD compares: a few bright cells mean that it teaches these alone, and that "
    "a higher temp, or scale: rms, would spread it."
)
_READ_CHANNELS = (
    "How much FGD weighs each channel: where the student's line leaves the teacher's, its channels do not have the "
    "teacher's strength yet."
)


class FGDFeatureLoss(nn.Layer):
    """Focal and global distillation of one level (arXiv 2111.11837), a sum over cells and channels, mean over images.

    With S and T the maps, and spatial and channel attentions A_s(x) = HW softmax(mean_c |x| / temp) and
    A_c(x) = C softmax(mean_hw |x| / temp):

    * foreground and background: (S - T)^2 A_s(T) A_c(T) M, where M_fg is 1 / area of the smallest box over a cell and
      M_bg is 1 / (number of cells without a box);
    * attention: |A_s(S) - A_s(T)| + |A_c(S) - A_c(T)|;
    * relation: (R_s(S) - R_t(T))^2 with a global context block R(x) = x + W2 relu(LN(W1 (x softmax_hw(w x)))), one for
      each side. Both are trained; their last convolution starts at zero, so R starts as the identity.

    Args:
        student_channels: channels of the student's map; where they differ from the teacher's, a 1x1 convolution aligns.
        teacher_channels: channels of the teacher's map.
        normalize: bring both maps to zero mean and unit deviation per channel first.
        loss_weight: factor on the sum of the terms.
        temp: temperature of the attentions.
        alpha_fgd: weight of the foreground.
        beta_fgd: weight of the background.
        gamma_fgd: weight of the attention term.
        lambda_fgd: weight of the relation term.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        normalize: bool = False,
        loss_weight: float = 1.0,
        temp: float = 0.5,
        alpha_fgd: float = 0.001,
        beta_fgd: float = 0.0005,
        gamma_fgd: float = 0.001,
        lambda_fgd: float = 0.000005,
    ) -> None:
        super().__init__()
        self.normalize, self.loss_weight, self.temp = normalize, loss_weight, temp
        self.alpha_fgd, self.beta_fgd, self.gamma_fgd, self.lambda_fgd = alpha_fgd, beta_fgd, gamma_fgd, lambda_fgd
        self.align = align_conv(student_channels, teacher_channels)
        self.conv_mask_s, self.stu_conv_block = _context_block(teacher_channels)
        self.conv_mask_t, self.tea_conv_block = _context_block(teacher_channels)

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, truth: Truth | Batch) -> Tensor:
        """The loss of maps [N, C, H, W], a scalar.

        ``truth`` is the ground truth, or a batch with ``gt_bbox`` and ``im_shape``. As published, boxes are scaled by
        the size of the image before padding, while the map covers the padded image.
        """
        truth = as_truth(truth)
        student = stu_feature if self.align is None else self.align(stu_feature)
        teacher = tea_feature.detach()
        if self.normalize:
            student, teacher = feature_norm(student), feature_norm(teacher)
        height, width = teacher.shape[2:]
        foreground, background = box_masks(truth.boxes, truth.image_shape, height, width)
        cells = (self.alpha_fgd * foreground + self.beta_fgd * background).flatten(1)
        loss = self._terms(student.flatten(2), teacher.flatten(2), cells)
        return loss * (self.loss_weight / teacher.shape[0])

    def _terms(self, student: Tensor, teacher: Tensor, cells: Tensor) -> Tensor:
        """All terms for maps [N, C, HW], summed over images; ``cells`` [N, HW] weighs the squared differences.

        The relation term is expanded, sum (D + r)^2 = sum D^2 + 2 r sum D + HW r^2 with r per channel, so that
        D = S - T is squared once for all terms, and sums over cells are matrix products.
        """
        spatial, channel = self._attention(teacher)
        student_spatial, student_channel = self._attention(student)
        attention = (student_spatial - spatial).abs().sum() + (student_channel - channel).abs().sum()

        context, total = _pool(student, self.conv_mask_s)
        teacher_context, teacher_total = _pool(teacher, self.conv_mask_t)
        shift = self.stu_conv_block(context).flatten(1) - self.tea_conv_block(teacher_context).flatten(1)

        gap = student - teacher
        weights = paddle.stack([spatial * cells, paddle.ones_like(cells)], axis=2)
        focal, square = paddle.matmul(gap * gap, weights).unbind(axis=2)
        relation = square + 2.0 * shift * (total - teacher_total) + student.shape[2] * shift * shift
        return (channel * focal + self.lambda_fgd * relation).sum() + self.gamma_fgd * attention

    @paddle.no_grad()
    def explain(
        self, stride: int, stu_feature: Tensor, tea_feature: Tensor, truth: Truth | Batch, *further: object
    ) -> Explanation:
        """Both attentions of both sides, and the weight that boxes give to each cell."""
        truth = as_truth(truth)
        height, width = tea_feature.shape[2:]
        foreground, background = box_masks(truth.boxes, truth.image_shape, height, width)
        cells = self.alpha_fgd * foreground + self.beta_fgd * background
        maps, channels = [CellMap("weight of cells by boxes", stride, cells, _READ_CELLS)], {}
        aligned = stu_feature if self.align is None else self.align(stu_feature)
        for owner, feature in (("teacher", tea_feature), ("student", aligned)):
            found = self.attentions(feature)
            spatial = found["spatial"].reshape([-1, height, width])
            maps.append(CellMap(f"{owner}'s attention", stride, spatial, _READ_ATTENTION, "attention"))
            channels[owner] = found["channel"]
        order = channels["teacher"].argsort(axis=1, descending=True)
        lines = [
            Lines(
                "channel attention",
                image,
                stride,
                {owner: values[image][order[image]] for owner, values in channels.items()},
                "channels, by the teacher's",
                _READ_CHANNELS,
            )
            for image in range(len(order))
        ]
        return Explanation(maps, lines)

    def attentions(self, feature: Tensor) -> dict[str, Tensor]:
        """The teacher's ``spatial`` [N, HW] and ``channel`` [N, C] attention of a map [N, C, H, W]; their mean is 1."""
        spatial, channel = self._attention((feature_norm(feature) if self.normalize else feature).flatten(2))
        return {"spatial": spatial, "channel": channel}

    def _attention(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Spatial [N, HW] and channel [N, C] attention of a map [N, C, HW].

        The means are matrix products: on a processor their backward takes half the time of a reduction's.
        """
        _, channels, cells = feature.shape
        size = feature.abs()
        over_channels = paddle.matmul(paddle.full([1, channels], 1.0 / channels), size).squeeze(1)
        over_cells = paddle.matmul(size, paddle.full([cells, 1], 1.0 / cells)).squeeze(2)
        spatial = F.softmax(over_channels / self.temp, axis=1) * cells
        channel = F.softmax(over_cells / self.temp, axis=1) * channels
        return spatial, channel


def _context_block(channels: int) -> tuple[nn.Conv2D, nn.Sequential]:
    kaiming = nn.initializer.KaimingNormal(fan_in=channels)
    zeros = nn.initializer.Constant(0.0)
    mask = nn.Conv2D(channels, 1, 1, weight_attr=kaiming)
    block = nn.Sequential(
        nn.Conv2D(channels, channels // 2, 1),
        nn.LayerNorm([channels // 2, 1, 1]),
        nn.ReLU(),
        nn.Conv2D(channels // 2, channels, 1, weight_attr=zeros),
    )
    return mask, block


def _pool(feature: Tensor, mask: nn.Conv2D) -> tuple[Tensor, Tensor]:
    """The context [N, C, 1, 1] under a softmax over cells, and the plain sum [N, C], of a map [N, C, HW]."""
    logits = paddle.matmul(mask.weight.flatten(1), feature) + mask.bias
    columns = paddle.concat([F.softmax(logits, axis=2), paddle.ones_like(logits)], axis=1)
    context, total = paddle.matmul(feature, columns, transpose_y=True).unbind(axis=2)
    return context.unsqueeze([2, 3]), total


FGD = register(
    level_wise(
        FGDFeatureLoss,
        notes="The defaults are published for RetinaNet; that of ``gamma_fgd`` differs from PaddleDetection's formula.",
        paper="2111.11837",
        needs_truth=True,
        defaults={"gamma_fgd": 0.0005},
    )
)
