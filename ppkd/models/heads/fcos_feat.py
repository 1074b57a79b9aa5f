"""The towers of dense heads."""

from __future__ import annotations

from typing import Literal

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.layers.conv_norm import ConvNormLayer, TowerNorm


@register
class FCOSFeat(nn.Layer):
    """Two towers of ``num_convs`` 3x3 convolutions with ReLU, one for classes and one for boxes.

    ``feat_in`` are the channels of the neck's levels, ``feat_out`` those of the towers. The same towers serve all
    levels.
    """

    def __init__(
        self,
        *,
        feat_in: int = 256,
        feat_out: int = 256,
        num_convs: int = 4,
        norm_type: TowerNorm | None = "bn",
        use_dcn: Literal[False] = False,
    ):
        super().__init__()
        self.feat_in = feat_in
        self.feat_out = feat_out if num_convs else feat_in
        self.cls_tower = [f"fcos_head_cls_tower_conv_{i}" for i in range(num_convs)]
        self.reg_tower = [f"fcos_head_reg_tower_conv_{i}" for i in range(num_convs)]
        for i, names in enumerate(zip(self.cls_tower, self.reg_tower, strict=True)):
            for name in names:
                channels = feat_in if i == 0 else feat_out
                conv = ConvNormLayer(channels, feat_out, 3, norm_type=norm_type, bias=True, bias_lr=2.0)
                self.add_sublayer(name, conv)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class and box features [N, feat_out, H, W] of one level [N, feat_in, H, W]."""
        return self.upper(*self.lower(x))

    def lower(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the last convolution of each tower gets, before its ReLU is applied; ``x`` if it is the first."""
        return self._climb(self.cls_tower, x), self._climb(self.reg_tower, x)

    def upper(self, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Class and box features from those of :meth:`lower`."""
        return self._end(self.cls_tower, classes), self._end(self.reg_tower, boxes)

    @property
    def inner_channels(self) -> int:
        """Channels of what :meth:`lower` returns."""
        return self.feat_in if len(self.cls_tower) < 2 else self.feat_out

    def _climb(self, tower: list[str], x: Tensor) -> Tensor:
        for i, name in enumerate(tower[:-1]):
            x = getattr(self, name)(F.relu(x) if i else x)
        return x

    def _end(self, tower: list[str], x: Tensor) -> Tensor:
        for name in tower[-1:]:
            x = F.relu(getattr(self, name)(F.relu(x) if len(tower) > 1 else x))
        return x
