"""MobileNetV3 (Howard et al., "Searching for MobileNetV3", arXiv:1905.02244)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

from paddle import ParamAttr, Tensor, nn
from paddle.regularizer import L2Decay

from ppkd.config import register
from ppkd.models.layers.conv_norm_act import ConvNormAct
from ppkd.models.layers.norm import NormType, batch_norm
from ppkd.models.layers.squeeze_excite import SqueezeExcite
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError

Activation = Literal["relu", "hardswish"]


class Block(NamedTuple):
    """An inverted residual: depthwise kernel, width inside, width outside, squeeze and excitation, activation."""

    kernel: int
    expand: int
    out: int
    excite: bool
    act: Activation
    stride: int


BLOCKS: dict[str, tuple[Block, ...]] = {
    "large": (
        Block(3, 16, 16, False, "relu", 1),
        Block(3, 64, 24, False, "relu", 2),
        Block(3, 72, 24, False, "relu", 1),
        Block(5, 72, 40, True, "relu", 2),
        Block(5, 120, 40, True, "relu", 1),
        Block(5, 120, 40, True, "relu", 1),
        Block(3, 240, 80, False, "hardswish", 2),
        Block(3, 200, 80, False, "hardswish", 1),
        Block(3, 184, 80, False, "hardswish", 1),
        Block(3, 184, 80, False, "hardswish", 1),
        Block(3, 480, 112, True, "hardswish", 1),
        Block(3, 672, 112, True, "hardswish", 1),
        Block(5, 672, 160, True, "hardswish", 2),
        Block(5, 960, 160, True, "hardswish", 1),
        Block(5, 960, 160, True, "hardswish", 1),
    ),
    "small": (
        Block(3, 16, 16, True, "relu", 2),
        Block(3, 72, 24, False, "relu", 2),
        Block(3, 88, 24, False, "relu", 1),
        Block(5, 96, 40, True, "hardswish", 2),
        Block(5, 240, 40, True, "hardswish", 1),
        Block(5, 240, 40, True, "hardswish", 1),
        Block(5, 120, 48, True, "hardswish", 1),
        Block(5, 144, 48, True, "hardswish", 1),
        Block(5, 288, 96, True, "hardswish", 2),
        Block(5, 576, 96, True, "hardswish", 1),
        Block(5, 576, 96, True, "hardswish", 1),
    ),
}


class ConvBN(ConvNormAct):
    """Convolution without bias, batch normalisation and, unless ``act`` is None, an activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        act: Activation | None = None,
        lr: float,
        conv_decay: float,
        norm_decay: float,
        freeze_norm: bool,
    ):
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            names=("conv", "bn"),
            norm=batch_norm(out_channels, decay=norm_decay, frozen=freeze_norm, lr=lr),
            stride=stride,
            groups=groups,
            act=act,
            weight_attr=ParamAttr(learning_rate=lr, regularizer=L2Decay(conv_decay)),
        )


class InvertedResidual(nn.Layer):
    """Expand, filter each channel, optionally excite, project; with a shortcut where shapes allow."""

    def __init__(self, in_channels: int, expand: int, out: int, block: Block, conv: partial[ConvBN]):
        super().__init__()
        self._shortcut = block.stride == 1 and in_channels == out
        self.expand_conv = conv(in_channels, expand, 1, act=block.act)
        self.bottleneck_conv = conv(expand, expand, block.kernel, stride=block.stride, groups=expand, act=block.act)
        self.mid_se = None
        if block.excite:
            self.mid_se = SqueezeExcite(
                expand, slope=0.2, lr=conv.keywords["lr"], conv_decay=conv.keywords["conv_decay"]
            )
        self.linear_conv = conv(expand, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out, H / stride, W / stride]."""
        y = self.bottleneck_conv(self.expand_conv(x))
        if self.mid_se is not None:
            y = self.mid_se(y)
        y = self.linear_conv(y)
        return x + y if self._shortcut else y


@register(shared=("norm_type",))
class MobileNetV3(nn.Layer):
    """MobileNetV3 without its classifier.

    ``scale`` multiplies all widths, which stay multiples of 8. ``feature_maps`` picks the outputs by number of the
    layer as its name says: ``conv2`` is the first block. ``lr_mult_list`` multiplies learning rates, one number for
    every three blocks; ``conv_decay`` and ``norm_decay`` are weight decays that replace the optimizer's own.
    """

    def __init__(
        self,
        *,
        scale: float = 1.0,
        model_name: Literal["large", "small"] = "large",
        feature_maps: Sequence[int] = (6, 12, 15),
        with_extra_blocks: Literal[False] = False,
        extra_block_filters: Sequence[Sequence[int]] = (),
        lr_mult_list: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0),
        conv_decay: float = 0.0,
        norm_type: NormType = "bn",
        norm_decay: float = 0.0,
        freeze_norm: bool = False,
    ):
        super().__init__()
        blocks = BLOCKS[model_name]
        last = len(blocks) + 1
        if not feature_maps or not set(feature_maps) <= set(range(2, last + 1)):
            raise ConfigError(f"MobileNetV3.feature_maps is {list(feature_maps)}: choose layer numbers 2..{last}.")
        self.feature_maps = tuple(sorted(feature_maps))
        conv = partial(ConvBN, conv_decay=conv_decay, norm_decay=norm_decay, freeze_norm=freeze_norm)
        width, stride = multiple_of_8(16 * scale), 2
        self.conv1 = conv(3, width, 3, stride=2, act="hardswish", lr=lr_mult_list[0])
        specs = {}
        for number, block in enumerate(blocks, start=2):
            expand, out = multiple_of_8(block.expand * scale), multiple_of_8(block.out * scale)
            lr = lr_mult_list[min((number - 2) // 3, len(lr_mult_list) - 1)]
            self.add_sublayer(f"conv{number}", InvertedResidual(width, expand, out, block, partial(conv, lr=lr)))
            width, stride = out, stride * block.stride
            specs[number] = LevelSpec(channels=width, stride=stride)
        self.out_specs = tuple(specs[number] for number in self.feature_maps)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The maps of ``out_specs``, finest first, of an image batch [N, 3, H, W]."""
        x, outputs = self.conv1(image), []
        for number in range(2, self.feature_maps[-1] + 1):
            x = getattr(self, f"conv{number}")(x)
            if number in self.feature_maps:
                outputs.append(x)
        return outputs


def multiple_of_8(width: float) -> int:
    """The multiple of 8 nearest to ``width``, at least 8 and at least nine tenths of it."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded
