"""Convolution, batch normalisation and leaky ReLU: the unit of DarkNet and of YOLOv3's neck."""

from __future__ import annotations

from paddle import Tensor, nn

from ppkd.models.layers.activation import leaky_relu
from ppkd.models.layers.norm import batch_norm


class ConvBNLeaky(nn.Layer):
    """[N, in_channels, H, W] to [N, out_channels, H / stride, W / stride]; slope 0.1 below zero, no bias."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        norm_decay: float = 0.0,
        freeze_norm: bool = False,
    ):
        super().__init__()
        self.conv = nn.Conv2D(
            in_channels, out_channels, kernel, stride=stride, padding=(kernel - 1) // 2, bias_attr=False
        )
        self.batch_norm = batch_norm(out_channels, decay=norm_decay, frozen=freeze_norm)

    def forward(self, x: Tensor) -> Tensor:
        """One convolution, normalised and activated."""
        return leaky_relu(self.batch_norm(self.conv(x)), 0.1)
