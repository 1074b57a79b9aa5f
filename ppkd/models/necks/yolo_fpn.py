"""YOLOv3's feature pyramid (Redmon and Farhadi, arXiv:1804.02767)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.models.layers.conv_norm_act import ConvBNLeaky
from ppkd.models.layers.norm import NormType
from ppkd.models.layers.upsample import upsample2x
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError


class YoloDetBlock(nn.Layer):
    """Five alternating 1x1 and 3x3 convolutions, the route to the next level, and a 3x3 one more, the tip."""

    def __init__(self, in_channels: int, channels: int, conv: partial[ConvBNLeaky]):
        super().__init__()
        self.conv_module = nn.Sequential(
            ("conv0", conv(in_channels, channels, 1)),
            ("conv1", conv(channels, channels * 2, 3)),
            ("conv2", conv(channels * 2, channels, 1)),
            ("conv3", conv(channels, channels * 2, 3)),
            ("route", conv(channels * 2, channels, 1)),
        )
        self.tip = conv(channels, channels * 2, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Route [N, channels, H, W] and tip [N, 2 * channels, H, W]."""
        route = self.conv_module(x)
        return route, self.tip(route)


@register(shared=("norm_type", "data_format"))
class YOLOv3FPN(nn.Layer):
    """From the backbone's maps to as many maps of ..., 256, 512, 1024 channels, both finest first.

    ``scale`` multiplies all widths, for small students. ``in_specs`` are the ``out_specs`` of the backbone; each level
    must have half the stride of the next.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        norm_type: NormType = "bn",
        freeze_norm: bool = False,
        data_format: Literal["NCHW"] = "NCHW",
        scale: float = 1.0,
    ):
        super().__init__()
        specs = sorted(in_specs, key=lambda spec: -spec.stride)
        if any(coarse.stride != 2 * fine.stride for coarse, fine in pairwise(specs)):
            raise ConfigError(
                f"YOLOv3FPN needs levels whose strides double, the backbone returns {[spec.stride for spec in specs]}: "
                "change its feature_maps or return_idx."
            )
        conv = partial(ConvBNLeaky, freeze_norm=freeze_norm)
        self.levels = len(specs)
        widths = [max(2, int((512 >> i) * scale)) for i in range(self.levels)]
        extra = 0
        for i, (spec, width) in enumerate(zip(specs, widths, strict=True)):
            self.add_sublayer(f"yolo_block.{i}", YoloDetBlock(spec.channels + extra, width, conv))
            if i < self.levels - 1:
                extra = width // 2
                self.add_sublayer(f"yolo_transition.{i}", conv(width, extra, 1))
        self.out_specs = tuple(LevelSpec(2 * width, spec.stride) for width, spec in zip(widths, specs, strict=True))[
            ::-1
        ]

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The maps of ``out_specs`` of the backbone's, both finest first; the layers are numbered from the coarsest."""
        x, tips = features[-1], []
        for i in range(self.levels):
            route, tip = getattr(self, f"yolo_block.{i}")(x)
            tips.append(tip)
            if i < self.levels - 1:
                upper = upsample2x(getattr(self, f"yolo_transition.{i}")(route))
                x = paddle.concat([upper, features[-i - 2]], axis=1)
        return tips[::-1]
