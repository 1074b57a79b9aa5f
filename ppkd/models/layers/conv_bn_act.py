"""Convolution, batch normalisation and an activation, under the names of PP-YOLOE's and PicoDet's published weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Initializer

from ppkd.models.layers.norm import batch_norm

Activation = Literal["swish", "relu", "hardswish"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "swish": F.silu,
    "relu": F.relu,
    "hardswish": F.hardswish,
}


class ConvBNAct(nn.Layer):
    """[N, in_channels, H, W] to [N, out_channels, H / stride, W / stride]; no bias; ``act`` None: no activation.

    ``weight_init`` is the convolution's where it is not Paddle's own.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        act: Activation | None = None,
        weight_init: Initializer | None = None,
    ):
        super().__init__()
        self._act = act
        self.conv = nn.Conv2D(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=(kernel - 1) // 2,
            groups=groups,
            weight_attr=ParamAttr(initializer=weight_init),
            bias_attr=False,
        )
        self.bn = batch_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """One convolution, normalised and activated."""
        x = self.bn(self.conv(x))
        return x if self._act is None else ACTIVATIONS[self._act](x)
