"""Residual units of PP-YOLOE's backbone and neck (Xu et al., arXiv:2203.16250)."""

from __future__ import annotations

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.models.layers.activation import Activation
from ppkd.models.layers.conv_norm_act import ConvBNAct
from ppkd.models.layers.rep_vgg import RepVggBlock


class RepBlock(nn.Layer):
    """A 3x3 convolution and a re-parameterised one of equal width; ``shortcut`` adds the input."""

    def __init__(self, channels: int, *, act: Activation, shortcut: bool, alpha: bool = False):
        super().__init__()
        self._shortcut = shortcut
        self.conv1 = ConvBNAct(channels, channels, 3, act=act)
        self.conv2 = RepVggBlock(channels, channels, act=act, alpha=alpha)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to the same."""
        y = self.conv2(self.conv1(x))
        return x + y if self._shortcut else y


class EffectiveSE(nn.Layer):
    """Channels weighted by what one layer makes of their means (Lee and Park, arXiv:1911.06667)."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc = nn.Conv2D(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to the same."""
        return x * F.hardsigmoid(self.fc(x.mean(axis=[2, 3], keepdim=True)))
