"""PP-LCNet (Cui et al., arXiv:2109.15099), the backbone of PicoDet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from paddle import Tensor, nn
from paddle.nn.initializer import KaimingNormal

from ppkd.config import register
from ppkd.models.backbones.mobilenet_v3 import multiple_of_8
from ppkd.models.layers.conv_norm_act import ConvBNAct
from ppkd.models.layers.depthwise import DepthwiseSeparable
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError


class Block(NamedTuple):
    """A depthwise separable convolution: its kernel, width and stride, and whether it weights its channels."""

    kernel: int
    out: int
    stride: int
    excite: bool = False


STEM = 16
STAGES: dict[int, tuple[Block, ...]] = {
    2: (Block(3, 32, 1),),
    3: (Block(3, 64, 2), Block(3, 64, 1)),
    4: (Block(3, 128, 2), Block(3, 128, 1)),
    5: (Block(3, 256, 2), *[Block(5, 256, 1)] * 5),
    6: (Block(5, 512, 2, excite=True), Block(5, 512, 1, excite=True)),
}


@register
class LCNet(nn.Layer):
    """A stem and five stages of depthwise separable convolutions without shortcuts; ``scale`` multiplies the widths.

    ``feature_maps`` are the maps returned by number: 2, 3, 4 and 5 have strides 4, 8, 16 and 32.
    """

    def __init__(self, *, scale: float = 1.0, feature_maps: Sequence[int] = (3, 4, 5)):
        super().__init__()
        if not feature_maps or not set(feature_maps) <= set(range(2, 6)):
            raise ConfigError(f"LCNet.feature_maps is {list(feature_maps)}: choose numbers 2..5.")
        self.feature_maps = tuple(sorted(feature_maps))
        width, stride = multiple_of_8(STEM * scale), 2
        self.conv1 = ConvBNAct(3, width, 3, stride=2, act="hardswish", weight_init=KaimingNormal())
        specs = {}
        for number, blocks in STAGES.items():
            layers = []
            for block in blocks:
                out = multiple_of_8(block.out * scale)
                layers.append(DepthwiseSeparable(width, out, block.kernel, stride=block.stride, excite=block.excite))
                width, stride = out, stride * block.stride
            self.add_sublayer(f"blocks{number}", nn.Sequential(*layers))
            specs[number - 1] = LevelSpec(width, stride)
        self.out_specs = tuple(specs[number] for number in self.feature_maps)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The maps of ``out_specs``, finest first, of an image batch [N, 3, H, W]."""
        x, outputs = self.conv1(image), []
        for number in STAGES:
            x = getattr(self, f"blocks{number}")(x)
            if number - 1 in self.feature_maps:
                outputs.append(x)
        return outputs
