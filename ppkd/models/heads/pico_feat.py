"""The towers of PicoDet's head, one for each level (Yu et al., arXiv:2111.00902)."""

from __future__ import annotations

from typing import Literal

from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Normal

from ppkd.config import register
from ppkd.models.layers.conv_norm import ConvNormLayer, TowerNorm


class PicoSE(nn.Layer):
    """Channels weighted by what one layer makes of their means, and a 1x1 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc = nn.Conv2D(channels, channels, 1, weight_attr=ParamAttr(initializer=Normal(0.0, 0.001)))
        self.conv = ConvNormLayer(channels, channels, 1, norm_type="bn")

    def forward(self, feature: Tensor) -> Tensor:
        """[N, channels, H, W] to the same."""
        return F.hardswish(self.conv(feature * F.sigmoid(self.fc(F.adaptive_avg_pool2d(feature, 1)))))


@register
class PicoFeat(nn.Layer):
    """``num_convs`` depthwise 5x5 and pointwise convolutions on each of ``num_fpn_stride`` levels.

    ``feat_in`` are the channels of the neck's levels, ``feat_out`` those of the towers, which must be equal. Classes
    and boxes share a tower (``share_cls_reg``); behind it its channels are weighted (``use_se``).
    """

    def __init__(
        self,
        *,
        feat_in: int = 256,
        feat_out: int = 96,
        num_fpn_stride: int = 3,
        num_convs: int = 2,
        norm_type: TowerNorm = "bn",
        share_cls_reg: Literal[True] = True,
        use_se: Literal[True] = True,
    ):
        super().__init__()
        self.feat_in = feat_in
        self.feat_out = feat_out
        self.levels = num_fpn_stride
        self.se = nn.LayerList([PicoSE(feat_out) for _ in range(num_fpn_stride)])
        for level in range(num_fpn_stride):
            for kind, kernel, groups in (("dw", 5, feat_out), ("pw", 1, 1)):
                convs = [
                    ConvNormLayer(feat_out, feat_out, kernel, groups=groups, norm_type=norm_type)
                    for _ in range(num_convs)
                ]
                self.add_sublayer(f"cls_conv_{kind}{level}", nn.LayerList(convs))

    def forward(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """The tower's map [N, feat_out, H, W] of a ``level`` [N, feat_in, H, W], and it with weighted channels."""
        return self.upper(self.lower(x, level), level)

    def lower(self, x: Tensor, level: int) -> Tensor:
        """What the last two convolutions of a level get, before its activation is applied; ``x`` if they are the first.

        It has as many channels as ``x``.
        """
        depthwise, pointwise = self._tower(level)
        for i, conv in enumerate(depthwise[:-1]):
            x = pointwise[i](F.hardswish(conv(F.hardswish(x) if i else x)))
        return x

    def upper(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """What :meth:`forward` returns, from what :meth:`lower` does."""
        depthwise, pointwise = self._tower(level)
        for conv in depthwise[-1:]:
            x = F.hardswish(pointwise[-1](F.hardswish(conv(F.hardswish(x) if len(depthwise) > 1 else x))))
        return x, self.se[level](x)

    def _tower(self, level: int) -> tuple[nn.LayerList, nn.LayerList]:
        return getattr(self, f"cls_conv_dw{level}"), getattr(self, f"cls_conv_pw{level}")
