"""Convolution and optional normalisation: the unit of feature pyramids and of the towers of dense heads."""

from __future__ import annotations

from typing import Literal

from paddle import ParamAttr, nn
from paddle.nn.initializer import Initializer, Normal

from ppkd.models.layers.conv_norm_act import ConvNormAct
from ppkd.models.layers.norm import batch_norm, group_norm
from ppkd.utils.errors import ConfigError

TowerNorm = Literal["bn", "sync_bn", "gn"]
"""Batch normalisation or group normalisation."""

GROUPS = 32


class ConvNormLayer(ConvNormAct):
    """[N, in_channels, H, W] to [N, out_channels, H / stride, W / stride], sides rounded up; no activation.

    ``bias`` gives the convolution a bias that learns ``bias_lr`` times as fast; ``weight_init`` defaults to a normal
    distribution of deviation 0.01. Group normalisation has 32 groups; raises :class:`ConfigError` unless they divide
    the channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        norm_type: TowerNorm | None,
        norm_decay: float = 0.0,
        freeze_norm: bool = False,
        bias: bool = False,
        bias_lr: float = 1.0,
        weight_init: Initializer | None = None,
    ):
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            names=("conv", "norm"),
            norm=None if norm_type is None else _norm(norm_type, out_channels, norm_decay, freeze_norm),
            stride=stride,
            groups=groups,
            weight_attr=ParamAttr(initializer=weight_init or Normal(0.0, 0.01)),
            bias_attr=ParamAttr(learning_rate=bias_lr) if bias else False,
        )


def _norm(kind: TowerNorm, channels: int, decay: float, frozen: bool) -> nn.Layer:
    if kind != "gn":
        return batch_norm(channels, decay=decay, frozen=frozen)
    if channels % GROUPS:
        raise ConfigError(f"norm_type gn needs channels in multiples of {GROUPS}, not {channels}")
    return group_norm(channels, groups=GROUPS, decay=decay, frozen=frozen)
