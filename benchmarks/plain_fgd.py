"""FGD written plainly, tensor by tensor with a loop over boxes: the reference that ``losses.py`` measures against."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paddle import Tensor

    from ppkd.distill.losses import FGDFeatureLoss
    from ppkd.structures import Batch


def plain_fgd(formula: FGDFeatureLoss, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
    """The loss of one level [N, C, H, W] with the parameters and settings of ``formula``, term after term."""
    foreground, background = _masks(teacher, batch)
    spatial, channel = _attention(teacher, formula.temp)
    our_spatial, our_channel = _attention(student, formula.temp)
    images = teacher.shape[0]
    attention = ((our_spatial - spatial).abs().sum() + (our_channel - channel).abs().sum()) / images
    return (
        formula.alpha_fgd * _focal(student, teacher, spatial, channel, foreground)
        + formula.beta_fgd * _focal(student, teacher, spatial, channel, background)
        + formula.gamma_fgd * attention
        + formula.lambda_fgd * _relation(formula, student, teacher)
    )


def _focal(student: Tensor, teacher: Tensor, spatial: Tensor, channel: Tensor, mask: Tensor) -> Tensor:
    from paddle.nn import functional as F

    weighted = [
        feature * spatial.sqrt().unsqueeze(1) * channel.sqrt().unsqueeze([2, 3]) * mask.sqrt().unsqueeze(1)
        for feature in (student, teacher)
    ]
    return F.mse_loss(weighted[0], weighted[1], reduction="sum") / teacher.shape[0]


def _relation(formula: FGDFeatureLoss, student: Tensor, teacher: Tensor) -> Tensor:
    from paddle.nn import functional as F

    related = []
    sides = (
        (student, formula.conv_mask_s, formula.stu_conv_block),
        (teacher, formula.conv_mask_t, formula.tea_conv_block),
    )
    for feature, mask, block in sides:
        focus = F.softmax(mask(feature).flatten(2), axis=2)
        context = (feature.flatten(2) * focus).sum(axis=2).unsqueeze([2, 3])
        related.append(feature + block(context))
    return F.mse_loss(related[0], related[1], reduction="sum") / teacher.shape[0]


def _attention(feature: Tensor, temp: float) -> tuple[Tensor, Tensor]:
    from paddle.nn import functional as F

    images, channels, height, width = feature.shape
    size = feature.abs()
    spatial = F.softmax(size.mean(axis=1).flatten(1) / temp, axis=1) * (height * width)
    channel = F.softmax(size.mean(axis=[2, 3]) / temp, axis=1) * channels
    return spatial.reshape([images, height, width]), channel


def _masks(teacher: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    import paddle

    images, _, height, width = teacher.shape
    foreground, background = [], []
    for i in range(images):
        inside = paddle.zeros([height, width])
        shape = batch["im_shape"][i]
        for box in batch["gt_bbox"][i]:
            left, right = int((box[0] / shape[1] * width).floor()), int((box[2] / shape[1] * width).ceil())
            top, bottom = int((box[1] / shape[0] * height).floor()), int((box[3] / shape[0] * height).ceil())
            value = paddle.to_tensor(1.0 / ((bottom + 1 - top) * (right + 1 - left)))
            covered = inside[top : bottom + 1, left : right + 1]
            inside[top : bottom + 1, left : right + 1] = paddle.maximum(covered, value)
        outside = (inside == 0).astype("float32")
        foreground.append(inside)
        background.append(outside / outside.sum().clip(min=1))
    return paddle.stack(foreground), paddle.stack(background)
