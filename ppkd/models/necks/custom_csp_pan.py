"""PP-YOLOE's path aggregation pyramid (Xu et al., arXiv:2203.16250; PAN: Liu et al., arXiv:1803.01534)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.layers.activation import Activation
from ppkd.models.layers.conv_norm_act import ConvBNAct
from ppkd.models.layers.csp import RepBlock
from ppkd.models.layers.norm import NormType
from ppkd.models.layers.upsample import upsample2x
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError

POOLS = (5, 9, 13)


class SPP(nn.Layer):
    """The input beside its maxima over squares of 5, 9 and 13 cells, brought to ``channels`` again."""

    def __init__(self, channels: int, act: Activation):
        super().__init__()
        self.conv = ConvBNAct(channels * (len(POOLS) + 1), channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to the same."""
        return self.conv(paddle.concat([x, *(F.max_pool2d(x, size, 1, size // 2) for size in POOLS)], axis=1))


class CSPStage(nn.Layer):
    """Half of ``out_channels`` pass ``blocks`` re-parameterised blocks, with ``spp`` pooling in their middle."""

    def __init__(
        self, in_channels: int, out_channels: int, blocks: int, *, act: Activation, spp: bool, alpha: bool = False
    ):
        super().__init__()
        middle = out_channels // 2
        self.conv1 = ConvBNAct(in_channels, middle, 1, act=act)
        self.conv2 = ConvBNAct(in_channels, middle, 1, act=act)
        self.convs = nn.Sequential()
        for i in range(blocks):
            self.convs.add_sublayer(str(i), RepBlock(middle, act=act, shortcut=False, alpha=alpha))
            if spp and i == (blocks - 1) // 2:
                self.convs.add_sublayer("spp", SPP(middle, act))
        self.conv3 = ConvBNAct(middle * 2, out_channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H, W]."""
        return self.conv3(paddle.concat([self.conv1(x), self.convs(self.conv2(x))], axis=1))


@register(shared=("norm_type", "width_mult", "depth_mult"))
class CustomCSPPAN(nn.Layer):
    """From the backbone's maps, finest first, down and up the pyramid to as many maps, finest first too.

    ``out_channels`` and the layers are numbered from the coarsest level, as in published files and weights.
    ``width_mult`` multiplies ``out_channels``, ``depth_mult`` the ``block_num`` blocks of each of the ``stage_num``
    stages of a level. ``use_alpha`` is that of :class:`~ppkd.models.backbones.csp_resnet.CSPResNet`.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        out_channels: Sequence[int] = (1024, 512, 256),
        act: Activation = "swish",
        stage_num: int = 1,
        block_num: int = 3,
        spp: bool = True,
        use_alpha: bool = False,
        width_mult: float = 1.0,
        depth_mult: float = 1.0,
        norm_type: NormType = "bn",
        data_format: Literal["NCHW"] = "NCHW",
    ):
        super().__init__()
        specs = sorted(in_specs, key=lambda spec: -spec.stride)
        if len(specs) != len(out_channels) or any(one.stride != 2 * next_.stride for one, next_ in pairwise(specs)):
            raise ConfigError(
                f"CustomCSPPAN.out_channels has {len(out_channels)} entries for levels of strides "
                f"{[spec.stride for spec in specs]}: give as many, and let the strides double (return_idx)."
            )
        widths = [max(round(count * width_mult), 1) for count in out_channels]
        blocks = max(round(block_num * depth_mult), 1)
        self.fpn_stages, self.fpn_routes = nn.LayerList(), nn.LayerList()
        for i, (spec, width) in enumerate(zip(specs, widths, strict=True)):
            extra = widths[i - 1] // 2 if i else 0
            pools = spp and not i
            self.fpn_stages.append(
                _stages(spec.channels + extra, width, stage_num, blocks, act, spp=pools, alpha=use_alpha)
            )
            if i < len(specs) - 1:
                self.fpn_routes.append(ConvBNAct(width, width // 2, 1, act=act))
        self.pan_stages, self.pan_routes = nn.LayerList(), nn.LayerList()
        for width, finer in pairwise(widths):
            self.pan_stages.append(_stages(width + finer, width, stage_num, blocks, act, spp=False, alpha=use_alpha))
            self.pan_routes.append(ConvBNAct(finer, finer, 3, stride=2, act=act))
        self.out_specs = tuple(LevelSpec(width, spec.stride) for width, spec in zip(widths, specs, strict=True))[::-1]

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The maps of ``out_specs`` of the backbone's, both finest first."""
        down: list[Tensor] = []
        for i, feature in enumerate(reversed(features)):
            if i:
                feature = paddle.concat([upsample2x(self.fpn_routes[i - 1](down[-1])), feature], axis=1)
            down.append(self.fpn_stages[i](feature))
        up = [down[-1]]
        for i in reversed(range(len(down) - 1)):
            up.append(self.pan_stages[i](paddle.concat([self.pan_routes[i](up[-1]), down[i]], axis=1)))
        return up


def _stages(
    in_channels: int, out_channels: int, count: int, blocks: int, act: Activation, *, spp: bool, alpha: bool
) -> nn.Sequential:
    return nn.Sequential(
        *(
            CSPStage(out_channels if i else in_channels, out_channels, blocks, act=act, spp=spp, alpha=alpha)
            for i in range(count)
        )
    )
