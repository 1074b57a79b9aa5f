"""Squeeze and excitation (Hu et al., arXiv:1709.01507)."""

from __future__ import annotations

from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.regularizer import L2Decay


class SqueezeExcite(nn.Layer):
    """Scales each channel by a gate computed from all channels' means.

    The gate is a hard sigmoid of ``slope`` at 0. ``conv_decay``, where given, replaces the optimizer's weight decay;
    ``lr`` multiplies the learning rate.
    """

    def __init__(self, channels: int, *, slope: float, lr: float = 1.0, conv_decay: float | None = None):
        super().__init__()

        def conv(inputs: int, outputs: int) -> nn.Conv2D:
            decay = None if conv_decay is None else L2Decay(conv_decay)
            attrs = [ParamAttr(learning_rate=lr, regularizer=decay) for _ in range(2)]
            return nn.Conv2D(inputs, outputs, 1, weight_attr=attrs[0], bias_attr=attrs[1])

        self._slope = slope
        self.conv1 = conv(channels, channels // 4)
        self.conv2 = conv(channels // 4, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to the same shape."""
        gate = F.relu(self.conv1(F.adaptive_avg_pool2d(x, 1)))
        return x * F.hardsigmoid(self.conv2(gate), slope=self._slope, offset=0.5)
