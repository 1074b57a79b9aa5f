"""The convolutions of a mask head (He et al., "Mask R-CNN", arXiv:1703.06870, figure 4, right)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import KaimingNormal

from ppkd.config import register
from ppkd.models.layers.conv_norm import ConvNormLayer
from ppkd.structures import LevelSpec


@register
class MaskFeat(nn.Layer):
    """``num_convs`` convolutions of ``out_channel`` channels with ReLU, then a transposed one that doubles the sides.

    ``norm_type`` gn normalises each convolution by groups; without it they have a bias.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        out_channel: int = 256,
        num_convs: int = 4,
        norm_type: Literal["gn"] | None = None,
    ):
        super().__init__()
        self.out_channel = out_channel
        channels = [in_specs[0].channels, *[out_channel] * num_convs]
        layers: list[tuple[str, nn.Layer]] = []
        for number in range(1, num_convs + 1):
            layers.append((f"mask_inter_feat_{number}", _conv(channels[number - 1], out_channel, norm_type)))
            layers.append((f"mask_inter_feat_{number}act", nn.ReLU()))
        start = ParamAttr(initializer=KaimingNormal(fan_in=out_channel * 4))
        layers.append(("conv5_mask", nn.Conv2DTranspose(channels[-1], out_channel, 2, stride=2, weight_attr=start)))
        layers.append(("conv5_maskact", nn.ReLU()))
        self.upsample = nn.Sequential(*layers)

    def forward(self, pooled: Tensor) -> Tensor:
        """[K, channels, side, side] to [K, out_channel, 2 * side, 2 * side]."""
        return self.upsample(pooled)


def _conv(channels: int, out_channel: int, norm_type: Literal["gn"] | None) -> nn.Layer:
    start = KaimingNormal(fan_in=out_channel * 9)
    if norm_type is not None:
        return ConvNormLayer(channels, out_channel, 3, norm_type=norm_type, weight_init=start)
    return nn.Conv2D(channels, out_channel, 3, padding=1, weight_attr=ParamAttr(initializer=start))
