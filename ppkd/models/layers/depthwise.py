"""Depthwise convolutions with pointwise ones behind them, under the names of PicoDet's published weights."""

from __future__ import annotations

from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Dirac, KaimingNormal, KaimingUniform

from ppkd.models.layers.conv_norm_act import ConvBNAct
from ppkd.models.layers.norm import batch_norm
from ppkd.models.layers.squeeze_excite import SqueezeExcite


class DepthwiseSeparable(nn.Layer):
    """A depthwise and a pointwise convolution, both activated; ``excite`` weights the channels between them.

    A depthwise kernel starts as the identity, as in MobileNetV1: many random ones in a row, without shortcuts, scramble
    where things are.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, excite: bool = False):
        super().__init__()
        self.dw_conv = ConvBNAct(
            in_channels,
            in_channels,
            kernel,
            stride=stride,
            groups=in_channels,
            act="hardswish",
            weight_init=Dirac(in_channels),
        )
        self.se = SqueezeExcite(in_channels, slope=1 / 6) if excite else None
        self.pw_conv = ConvBNAct(in_channels, out_channels, 1, act="hardswish", weight_init=KaimingNormal())

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H / stride, W / stride], sides rounded up."""
        x = self.dw_conv(x)
        return self.pw_conv(x if self.se is None else self.se(x))


class DPModule(nn.Layer):
    """A convolution in ``out_channels`` groups, activated, and a pointwise one, activated if ``act_out``."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, act_out: bool = True):
        super().__init__()
        self._act_out = act_out
        self.dwconv = nn.Conv2D(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=(kernel - 1) // 2,
            groups=out_channels,
            weight_attr=ParamAttr(initializer=KaimingUniform()),
            bias_attr=False,
        )
        self.bn1 = batch_norm(out_channels)
        self.pwconv = nn.Conv2D(
            out_channels, out_channels, 1, weight_attr=ParamAttr(initializer=KaimingUniform()), bias_attr=False
        )
        self.bn2 = batch_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H / stride, W / stride], sides rounded up."""
        x = self.bn2(self.pwconv(F.hardswish(self.bn1(self.dwconv(x)))))
        return F.hardswish(x) if self._act_out else x
