"""Residual blocks, plain and bottleneck, in the variants a to d."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Constant
from paddle.vision.ops import DeformConv2D

from ppkd.models.layers.conv_norm_act import ConvNormAct
from ppkd.models.layers.norm import batch_norm


class ConvNorm(ConvNormAct):
    """Convolution without bias, batch normalisation and, on request, ReLU.

    With ``deformable`` the convolution is a modulated deformable one (Zhu et al., "Deformable ConvNets v2",
    arXiv:1811.11168), whose offsets and masks start as those of a plain convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        relu: bool = False,
        deformable: bool = False,
        lr: float = 1.0,
        norm_decay: float = 0.0,
        freeze_norm: bool = True,
    ):
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            names=("conv", "norm"),
            norm=batch_norm(out_channels, decay=norm_decay, frozen=freeze_norm, lr=lr),
            stride=stride,
            groups=groups,
            act="relu" if relu else None,
            weight_attr=ParamAttr(learning_rate=lr),
            conv=DeformConv2D if deformable else nn.Conv2D,
            before={"conv_offset": _offsets(in_channels, kernel, stride)} if deformable else None,
        )
        self.taps = kernel * kernel
        self.deformable = deformable

    def convolve(self, x: Tensor) -> Tensor:
        """What is normalised."""
        if not self.deformable:
            return self.conv(x)
        offset, mask = paddle.split(self.conv_offset(x), [2 * self.taps, self.taps], axis=1)
        return self.conv(x, offset, mask=F.sigmoid(mask))


def _offsets(in_channels: int, kernel: int, stride: int) -> nn.Conv2D:
    """What tells where each of a kernel's taps reads, and how much of it counts; zeros at the start."""
    zero = ParamAttr(initializer=Constant(0.0))
    shape = {"stride": stride, "padding": (kernel - 1) // 2}
    return nn.Conv2D(in_channels, 3 * kernel * kernel, kernel, weight_attr=zero, bias_attr=zero, **shape)


ConvFactory = partial[ConvNorm]
"""Makes the convolutions of a stage: learning rate, weight decay and freezing are already in it."""


def shortcut(in_channels: int, out_channels: int, stride: int, variant: str, conv: ConvFactory) -> nn.Layer:
    """The projection beside the first block of a stage; variant d pools before it instead of striding."""
    if variant == "d" and stride == 2:
        pool = nn.AvgPool2D(kernel_size=2, stride=2, padding=0, ceil_mode=True)
        return nn.Sequential(("pool", pool), ("conv", conv(in_channels, out_channels, 1)))
    return conv(in_channels, out_channels, 1, stride=stride)


class BasicBlock(nn.Layer):
    """Two 3x3 convolutions beside the identity or, in the first block of a stage, a projection."""

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        *,
        first: bool,
        variant: str,
        deformable: bool,
        conv: ConvFactory,
    ):
        super().__init__()
        self.short = shortcut(in_channels, width, stride, variant, conv) if first else None
        self.branch2a = conv(in_channels, width, 3, stride=stride, relu=True)
        self.branch2b = conv(width, width, 3, deformable=deformable)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, width, H / stride, W / stride]."""
        identity = x if self.short is None else self.short(x)
        return F.relu(self.branch2b(self.branch2a(x)) + identity)


class BottleNeck(nn.Layer):
    """1x1, 3x3 and 1x1 convolutions beside the identity or a projection.

    Variant a strides in the first convolution, the others in the second. ``groups`` and ``base_width`` widen the
    3x3 convolution as ResNeXt does (Xie et al., arXiv:1611.05431).
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        *,
        first: bool,
        variant: str,
        deformable: bool,
        conv: ConvFactory,
        groups: int = 1,
        base_width: int = 64,
    ):
        super().__init__()
        inner = int(width * base_width / 64) * groups
        outer = width * self.expansion
        early, late = (stride, 1) if variant == "a" else (1, stride)
        self.branch2a = conv(in_channels, inner, 1, stride=early, relu=True)
        self.branch2b = conv(inner, inner, 3, stride=late, groups=groups, relu=True, deformable=deformable)
        self.branch2c = conv(inner, outer, 1)
        self.short = shortcut(in_channels, outer, stride, variant, conv) if first else None

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, 4 * width, H / stride, W / stride]."""
        identity = x if self.short is None else self.short(x)
        return F.relu(self.branch2c(self.branch2b(self.branch2a(x))) + identity)
