"""Convolution, normalisation and activation: the unit of almost every network here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import Initializer

from ppkd.models.layers.activation import ACTIVATIONS, Activation, AnyActivation
from ppkd.models.layers.norm import batch_norm


class ConvNormAct(nn.Layer):
    """[N, in_channels, H, W] to [N, out_channels, H / stride, W / stride], sides rounded up.

    ``names`` are what published weights call the convolution and the ``norm``, each a sublayer; without a norm or an
    ``act`` that step is left out. ``weight_attr`` and ``bias_attr`` are the convolution's, which has no bias unless one
    is given. A subclass may bring another kind of ``conv``, and sublayers ``before`` it in the order of the weights.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        names: tuple[str, str],
        norm: nn.Layer | None,
        stride: int = 1,
        groups: int = 1,
        act: AnyActivation | None = None,
        weight_attr: ParamAttr | None = None,
        bias_attr: ParamAttr | Literal[False] = False,
        conv: type[nn.Layer] = nn.Conv2D,
        before: Mapping[str, nn.Layer] | None = None,
    ):
        super().__init__()
        self._names = names
        self._act = act
        for name, layer in (before or {}).items():
            self.add_sublayer(name, layer)
        convolution = conv(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=(kernel - 1) // 2,
            groups=groups,
            weight_attr=weight_attr,
            bias_attr=bias_attr,
        )
        self.add_sublayer(names[0], convolution)
        self.add_sublayer(names[1], norm)

    def convolve(self, x: Tensor) -> Tensor:
        """What is normalised."""
        return getattr(self, self._names[0])(x)

    def forward(self, x: Tensor) -> Tensor:
        """One convolution, normalised and activated."""
        norm = getattr(self, self._names[1])
        x = self.convolve(x)
        x = x if norm is None else norm(x)
        return x if self._act is None else ACTIVATIONS[self._act](x)


class ConvBNAct(ConvNormAct):
    """Under the names of PP-YOLOE's and PicoDet's weights; ``weight_init`` where it is not Paddle's own."""

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
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            names=("conv", "bn"),
            norm=batch_norm(out_channels),
            stride=stride,
            groups=groups,
            act=act,
            weight_attr=ParamAttr(initializer=weight_init),
        )


class ConvBNLeaky(ConvNormAct):
    """The unit of DarkNet and of YOLOv3's neck, under the names of their weights; slope 0.1 below zero."""

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
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            names=("conv", "batch_norm"),
            norm=batch_norm(out_channels, decay=norm_decay, frozen=freeze_norm),
            stride=stride,
            act="leaky_relu",
        )
