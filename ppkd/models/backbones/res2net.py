"""Res2Net (Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", arXiv:1904.01169)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.backbones.residual import WIDTHS, ResidualBackbone, stem
from ppkd.models.backbones.resnet_blocks import BottleNeck, ConvFactory, ConvNorm, shortcut
from ppkd.models.layers.norm import NormType
from ppkd.structures import LevelSpec

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 12, 48, 3)}


class Res2NetBlock(nn.Layer):
    """A bottleneck whose 3x3 convolution is a chain of ``scales`` - 1 narrow ones.

    Each takes its share of the channels and, except where the block strides, what the one before it made; the last
    share passes by, averaged where the block strides.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        stride: int,
        *,
        first: bool,
        scales: int,
        groups: int,
        deformable: bool,
        conv: ConvFactory,
    ):
        super().__init__()
        self.scales = scales
        self.stride = stride
        self.branch1 = shortcut(in_channels, out_channels, stride, "b", conv) if first else None
        self.branch2a = conv(in_channels, width * scales, 1, relu=True)
        share = partial(conv, width, width, 3, stride=stride, groups=groups, relu=True, deformable=deformable)
        self.branch2b = nn.LayerList([share() for _ in range(scales - 1)])
        self.branch2c = conv(width * scales, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H / stride, W / stride]."""
        *shares, passing = paddle.split(self.branch2a(x), self.scales, axis=1)
        parts: list[Tensor] = []
        # Paddle's tracing of Python code into a program does not know zip's strict.
        for i, conv in enumerate(self.branch2b):
            share = shares[i]
            parts.append(conv(share + parts[-1] if parts and self.stride == 1 else share))
        parts.append(passing if self.stride == 1 else F.avg_pool2d(passing, 3, self.stride, padding=1))
        identity = x if self.branch1 is None else self.branch1(x)
        return F.relu(self.branch2c(paddle.concat(parts, axis=1)) + identity)


@register(shared=("norm_type",))
class Res2Net(ResidualBackbone):
    """Res2Net without its classifier, as PaddleDetection has it, whose weights it takes.

    ``scales`` is how many shares a block's channels are split into and ``width`` the channels of a share in the first
    stage, doubled from stage to stage; ``groups`` above 1 makes a Res2NeXt. ``variant`` decides about the stem alone:
    one 7x7 convolution in a and b, three 3x3 ones in c and d; all blocks are those of b. The other settings are those
    of :class:`ResNet`.
    """

    def __init__(
        self,
        *,
        depth: Literal[50, 101, 152, 200] = 50,
        width: int = 26,
        scales: int = 4,
        variant: Literal["a", "b", "c", "d"] = "b",
        lr_mult_list: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        groups: int = 1,
        norm_type: NormType = "bn",
        norm_decay: float = 0.0,
        freeze_norm: bool = True,
        freeze_at: int = 0,
        return_idx: Sequence[int] = (0, 1, 2, 3),
        dcn_v2_stages: Sequence[int] = (-1,),
        num_stages: int = 4,
    ):
        super().__init__(stem_name="res1", num_stages=num_stages, return_idx=return_idx, lr_mult_list=lr_mult_list)
        make = partial(ConvNorm, norm_decay=norm_decay, freeze_norm=freeze_norm)
        self.res1 = stem(variant, "conv1", make)
        channels = WIDTHS[0]
        for i, count in enumerate(DEPTHS[depth][:num_stages]):
            block = partial(
                Res2NetBlock,
                scales=scales,
                groups=groups,
                deformable=i in dcn_v2_stages,
                conv=partial(make, lr=lr_mult_list[i]),
            )
            outer, inner = WIDTHS[i] * BottleNeck.expansion, width * 2**i
            blocks = [block(channels, outer, inner, 1 if i == 0 else 2, first=True)]
            blocks += [block(outer, outer, inner, 1, first=False) for _ in range(count - 1)]
            self.add_sublayer(f"res{i + 2}", nn.Sequential(("blocks", nn.Sequential(*blocks))))
            channels = outer
        self.out_specs = tuple(
            LevelSpec(WIDTHS[i] * BottleNeck.expansion, 2 ** (i + 2)) for i in sorted(self.return_idx)
        )
        self.freeze_up_to(freeze_at)
