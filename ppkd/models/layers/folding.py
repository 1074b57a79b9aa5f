"""Batch normalisation folded into the convolution before it."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn


def folded(conv: nn.Conv2D, norm: nn.BatchNorm2D) -> tuple[Tensor, Tensor]:
    """Weight [out, in, k, k] and bias [out] of the one convolution that is ``norm(conv(x))`` in evaluation mode.

    The weight times gamma / sqrt(variance + eps), the bias shifted alike.
    """
    scale = norm.weight / paddle.sqrt(norm._variance + norm._epsilon)
    bias = norm.bias - norm._mean * scale
    if conv.bias is not None:
        bias = bias + conv.bias * scale
    return conv.weight * scale.reshape([-1, 1, 1, 1]), bias
