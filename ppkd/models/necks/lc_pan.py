"""PicoDet's path aggregation pyramid of depthwise separable convolutions (Yu et al., arXiv:2111.00902)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import paddle
from paddle import Tensor, nn
from paddle.nn.initializer import KaimingUniform

from ppkd.config import register
from ppkd.models.layers.conv_norm_act import ConvBNAct
from ppkd.models.layers.depthwise import DepthwiseSeparable, DPModule
from ppkd.models.layers.upsample import upsample2x
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError

KERNEL = 5


class ChannelTransform(nn.Layer):
    """Brings every level to equally many channels."""

    def __init__(self, in_channels: Sequence[int], out_channels: int):
        super().__init__()
        self.convs = nn.LayerList(
            [ConvBNAct(count, out_channels, 1, act="hardswish", weight_init=KaimingUniform()) for count in in_channels]
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps [N, out_channels, H, W] of ``features`` in their order."""
        return [self.convs[i](feature) for i, feature in enumerate(features)]


@register
class LCPAN(nn.Layer):
    """Three levels down and up the pyramid, all of ``out_channels``; ``num_features`` 4 adds a coarser level."""

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        out_channels: int = 96,
        num_features: Literal[3, 4] = 3,
        use_depthwise: Literal[True] = True,
    ):
        super().__init__()
        strides = [spec.stride for spec in in_specs]
        if len(strides) != 3 or any(coarser != 2 * finer for finer, coarser in pairwise(strides)):
            raise ConfigError(
                f"LCPAN joins three levels of doubling strides, not {strides}: set the backbone's feature_maps so."
            )
        self.conv_t = ChannelTransform([spec.channels for spec in in_specs], out_channels)
        self.extra = num_features == 4
        if self.extra:
            self.first_top_conv = DPModule(out_channels, out_channels, KERNEL, stride=2)
            self.second_top_conv = DPModule(out_channels, out_channels, KERNEL, stride=2)
            strides.append(2 * strides[-1])
        self.top_down_blocks = nn.LayerList([_join(out_channels) for _ in in_specs[1:]])
        self.downsamples = nn.LayerList([DPModule(out_channels, out_channels, KERNEL, stride=2) for _ in in_specs[1:]])
        self.bottom_up_blocks = nn.LayerList([_join(out_channels) for _ in in_specs[1:]])
        self.out_specs = tuple(LevelSpec(out_channels, stride) for stride in strides)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The maps of ``out_specs`` of the backbone's, both finest first."""
        features = self.conv_t(features)
        down = [features[-1]]
        for i, feature in enumerate(reversed(features[:-1])):
            down.append(self.top_down_blocks[i](paddle.concat([upsample2x(down[-1]), feature], axis=1)))
        up = [down[-1]]
        for i, feature in enumerate(reversed(down[:-1])):
            up.append(self.bottom_up_blocks[i](paddle.concat([self.downsamples[i](up[-1]), feature], axis=1)))
        if self.extra:
            up.append(self.first_top_conv(features[-1]) + self.second_top_conv(up[-1]))
        return up


def _join(channels: int) -> nn.Sequential:
    """Two levels of ``channels`` side by side become one."""
    return nn.Sequential(
        DepthwiseSeparable(2 * channels, 2 * channels, KERNEL), DepthwiseSeparable(2 * channels, channels, KERNEL)
    )
