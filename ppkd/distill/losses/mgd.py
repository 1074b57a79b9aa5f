"""MGD: masked generative distillation (Yang et al., ECCV 2022, arXiv 2205.01529)."""

from __future__ import annotations

from typing import Literal

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.distill.level_wise import level_wise
from ppkd.distill.maps import align_conv, default_conv, feature_norm

WINDOW = 11
SIGMA = 1.5


class MGDFeatureLoss(nn.Layer):
    """Masked generative distillation of one level (arXiv 2205.01529).

    A share ``lambda_mgd`` of the student's cells is set to zero, two 3x3 convolutions generate the teacher's map from
    the rest; the loss is the squared difference, summed over cells and channels, mean over images. With its defaults
    it is PaddleDetection's, which normalises the maps and masks nothing; the paper's is
    ``normalize=False, lambda_mgd=0.65, align_bias=True``.

    Args:
        student_channels: channels of the student's map; where they differ from the teacher's, a 1x1 convolution aligns.
        teacher_channels: channels of the teacher's map.
        normalize: bring both maps to zero mean and unit deviation per channel before they are compared.
        loss_weight: factor on the loss, the paper's alpha.
        loss_func: ``mse``, or ``ssim`` for (1 - structural similarity) / 2.
        lambda_mgd: probability that a cell is masked in training mode; in evaluation none is.
        mask_on_channel: mask channels instead of cells.
        align_bias: give the aligning convolution a bias.
    """

    def __init__(
        self,
        student_channels: int = 256,
        teacher_channels: int = 256,
        normalize: bool = True,
        loss_weight: float = 1.0,
        loss_func: Literal["mse", "ssim"] = "mse",
        lambda_mgd: float = 0.0,
        mask_on_channel: bool = False,
        align_bias: bool = False,
    ) -> None:
        super().__init__()
        if loss_func not in ("mse", "ssim"):
            raise ValueError(f"loss_func is {loss_func!r}: give mse or ssim")
        self.normalize, self.loss_weight, self.loss_func = normalize, loss_weight, loss_func
        self.lambda_mgd, self.mask_on_channel = lambda_mgd, mask_on_channel
        self.align = align_conv(student_channels, teacher_channels, bias=align_bias)
        self.generation = nn.Sequential(
            default_conv(teacher_channels, teacher_channels, 3),
            nn.ReLU(),
            default_conv(teacher_channels, teacher_channels, 3),
        )

    def forward(self, stu_feature: Tensor, tea_feature: Tensor, truth: object = None) -> Tensor:
        """The loss of maps [N, C, H, W], a scalar; ``truth`` is not read."""
        student = stu_feature if self.align is None else self.align(stu_feature)
        teacher = tea_feature.detach()
        if self.training and self.lambda_mgd:
            student = student * self._mask(student)
        student = self.generation(student)
        if self.normalize:
            student, teacher = feature_norm(student), feature_norm(teacher)
        if self.loss_func == "ssim":
            return self.loss_weight * ((1.0 - ssim(student, teacher)) / 2.0).clip(0.0, 1.0)
        return F.mse_loss(student, teacher, reduction="sum") * (self.loss_weight / teacher.shape[0])

    def _mask(self, feature: Tensor) -> Tensor:
        images, channels, height, width = feature.shape
        shape = [images, channels, 1, 1] if self.mask_on_channel else [images, 1, height, width]
        return (paddle.rand(shape) <= 1.0 - self.lambda_mgd).astype(feature.dtype)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean structural similarity of maps [N, C, H, W] of dynamic range 1 (Wang et al., IEEE TIP 2004).

    Every channel is seen through a Gaussian window of 11 x 11 cells, sigma 1.5, with zeros beyond the border.
    """
    images, channels, height, width = first.shape
    maps = paddle.concat([first, second, first * first, second * second, first * second])
    blurred = F.conv2d(maps.reshape([-1, 1, height, width]), _gaussian(), padding=WINDOW // 2)
    mean_1, mean_2, square_1, square_2, product = blurred.reshape([5, images, channels, height, width]).unbind(0)
    luminance = mean_1 * mean_1 + mean_2 * mean_2
    contrast = square_1 + square_2 - luminance
    c1, c2 = 0.01**2, 0.03**2
    similar = (2 * mean_1 * mean_2 + c1) * (2 * (product - mean_1 * mean_2) + c2)
    return (similar / ((luminance + c1) * (contrast + c2) + 1e-12)).mean()


def _gaussian() -> Tensor:
    offsets = paddle.arange(WINDOW, dtype="float32") - WINDOW // 2
    line = F.softmax(-(offsets**2) / (2 * SIGMA**2), axis=0)
    return paddle.outer(line, line).reshape([1, 1, WINDOW, WINDOW])


MGD = register(
    level_wise(
        MGDFeatureLoss,
        notes="The defaults are the paper's for RetinaNet. ``alpha_mgd`` is the factor on the squared difference;\n"
        "two-stage detectors have 5e-7, and ``lambda_mgd`` 0.45.",
        paper="2205.01529",
        defaults={"normalize": False, "lambda_mgd": 0.65, "align_bias": True, "loss_weight": 2e-5},
        renamed={"alpha_mgd": "loss_weight"},
    )
)
