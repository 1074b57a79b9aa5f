"""CSPRepResNet, the backbone of PP-YOLOE (Xu et al., arXiv:2203.16250)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.models.layers.activation import Activation
from ppkd.models.layers.conv_norm_act import ConvBNAct
from ppkd.models.layers.csp import EffectiveSE, RepBlock
from ppkd.models.layers.norm import NormType
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError


class CSPResStage(nn.Layer):
    """Halves the size; one half of the channels passes ``blocks`` residual blocks, the other none."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int, *, act: Activation, alpha: bool):
        super().__init__()
        middle = (in_channels + out_channels) // 2
        self.conv_down = ConvBNAct(in_channels, middle, 3, stride=2, act=act)
        self.conv1 = ConvBNAct(middle, middle // 2, 1, act=act)
        self.conv2 = ConvBNAct(middle, middle // 2, 1, act=act)
        self.blocks = nn.Sequential(
            *(RepBlock(middle // 2, act=act, shortcut=True, alpha=alpha) for _ in range(blocks))
        )
        self.attn = EffectiveSE(middle)
        self.conv3 = ConvBNAct(middle, out_channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H / 2, W / 2]."""
        x = self.conv_down(x)
        return self.conv3(self.attn(paddle.concat([self.conv1(x), self.blocks(self.conv2(x))], axis=1)))


@register(shared=("norm_type", "width_mult", "depth_mult"))
class CSPResNet(nn.Layer):
    """A stem and four stages of strides 4, 8, 16 and 32, those of ``return_idx`` returned.

    ``width_mult`` multiplies ``channels`` of the stem and the stages, ``depth_mult`` the stages' ``layers``.
    ``use_large_stem`` has three convolutions instead of two; ``use_alpha`` trains a factor for the small branch of each
    re-parameterised convolution, as in PP-YOLOE+.
    """

    def __init__(
        self,
        *,
        layers: Sequence[int] = (3, 6, 6, 3),
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        act: Activation = "swish",
        return_idx: Sequence[int] = (1, 2, 3),
        use_large_stem: bool = True,
        use_alpha: bool = False,
        width_mult: float = 1.0,
        depth_mult: float = 1.0,
        norm_type: NormType = "bn",
        data_format: Literal["NCHW"] = "NCHW",
    ):
        super().__init__()
        if len(channels) != len(layers) + 1 or not set(return_idx) <= set(range(len(layers))):
            raise ConfigError(
                f"CSPResNet has {len(layers)} layers: it needs one entry of channels more than that, not "
                f"{len(channels)}, and return_idx among 0..{len(layers) - 1}, not {list(return_idx)}"
            )
        widths = [max(round(count * width_mult), 1) for count in channels]
        depths = [max(round(count * depth_mult), 1) for count in layers]
        self.return_idx = tuple(return_idx)
        self.stem = _stem(widths[0], act, large=use_large_stem)
        self.stages = nn.Sequential(
            *(CSPResStage(widths[i], widths[i + 1], depth, act=act, alpha=use_alpha) for i, depth in enumerate(depths))
        )
        self.out_specs = tuple(LevelSpec(widths[i + 1], 4 << i) for i in sorted(return_idx))

    def forward(self, image: Tensor) -> list[Tensor]:
        """The maps of ``out_specs``, finest first, of an image batch [N, 3, H, W]."""
        x, outputs = self.stem(image), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.return_idx:
                outputs.append(x)
        return outputs


def _stem(width: int, act: Activation, *, large: bool) -> nn.Sequential:
    half = width // 2
    units = [("conv1", ConvBNAct(3, half, 3, stride=2, act=act))]
    if large:
        units.append(("conv2", ConvBNAct(half, half, 3, act=act)))
    units.append((f"conv{len(units) + 1}", ConvBNAct(half, width, 3, act=act)))
    return nn.Sequential(*units)
