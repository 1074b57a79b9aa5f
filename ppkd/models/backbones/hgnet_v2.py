"""PP-HGNetV2, the backbone of RT-DETR's larger models (Zhao et al., arXiv:2304.08069)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import KaimingNormal

from ppkd.config import register
from ppkd.models.layers.conv_norm_act import ConvNormAct
from ppkd.models.layers.norm import batch_norm, freeze
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError

UNITS = 6
"""How many units a block has."""
WIDTHS = (128, 512, 1024, 2048)
"""What the stages return."""


@dataclass(frozen=True)
class Size:
    """The channels of the ``stem`` inside and at its end, those inside of each stage's units, and its ``blocks``."""

    stem: tuple[int, int]
    middle: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = WIDTHS


SIZES = {
    "L": Size((32, 48), (48, 96, 192, 384), (1, 1, 3, 1)),
    "X": Size((32, 64), (64, 128, 256, 512), (1, 2, 5, 2)),
    "H": Size((48, 96), (96, 192, 384, 768), (2, 3, 6, 3), (192, 512, 1024, 2048)),
}


class Unit(ConvNormAct):
    """A convolution, its normalisation and, unless ``linear``, ReLU; ``lr`` multiplies the learning rate."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        lr: float,
        frozen: bool,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ):
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            names=("conv", "bn"),
            norm=batch_norm(out_channels, frozen=frozen, lr=lr),
            stride=stride,
            groups=groups,
            act=None if linear else "relu",
            weight_attr=ParamAttr(initializer=KaimingNormal(), learning_rate=lr),
        )


class LightUnit(nn.Layer):
    """A 1x1 convolution and a depthwise one."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, make: partial[Unit]):
        super().__init__()
        self.conv1 = make(in_channels, out_channels, 1, linear=True)
        self.conv2 = make(out_channels, out_channels, kernel, groups=out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H, W]."""
        return self.conv2(self.conv1(x))


class Stem(nn.Layer):
    """The image at a quarter of its size."""

    def __init__(self, middle: int, out_channels: int, make: partial[Unit]):
        super().__init__()
        self.stem1 = make(3, middle, 3, stride=2)
        self.stem2a = make(middle, middle // 2, 2)
        self.stem2b = make(middle // 2, middle, 2)
        self.stem3 = make(middle * 2, middle, 3, stride=2)
        self.stem4 = make(middle, out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, out_channels, H / 4, W / 4]."""
        x = self.stem1(image)
        pooled = F.max_pool2d(_widened(x), 2, 1)
        x = self.stem2b(_widened(self.stem2a(_widened(x))))
        return self.stem4(self.stem3(paddle.concat([pooled, x], axis=1)))


class Block(nn.Layer):
    """Units in a row, whose input and outputs are all brought together; a ``shortcut`` adds the input."""

    def __init__(
        self, in_channels: int, middle: int, out_channels: int, *, light: bool, shortcut: bool, make: partial[Unit]
    ):
        super().__init__()
        self._shortcut = shortcut
        inputs = [in_channels, *[middle] * (UNITS - 1)]
        self.layers = nn.LayerList(
            LightUnit(channels, middle, 5, make=make) if light else make(channels, middle, 3) for channels in inputs
        )
        self.aggregation_squeeze_conv = make(in_channels + UNITS * middle, out_channels // 2, 1)
        self.aggregation_excitation_conv = make(out_channels // 2, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H, W]."""
        seen = [x]
        for layer in self.layers:
            seen.append(layer(seen[-1]))
        y = self.aggregation_excitation_conv(self.aggregation_squeeze_conv(paddle.concat(seen, axis=1)))
        return x + y if self._shortcut else y


class Stage(nn.Layer):
    """``count`` blocks behind a depthwise convolution that halves the size, if ``halves``."""

    def __init__(
        self,
        in_channels: int,
        middle: int,
        out_channels: int,
        *,
        count: int,
        halves: bool,
        light: bool,
        make: partial[Unit],
    ):
        super().__init__()
        if halves:
            self.downsample = make(in_channels, in_channels, 3, stride=2, groups=in_channels, linear=True)
        self._halves = halves
        self.blocks = nn.Sequential(
            *(
                Block(out_channels if i else in_channels, middle, out_channels, light=light, shortcut=i > 0, make=make)
                for i in range(count)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H, W], or half of the sides."""
        return self.blocks(self.downsample(x) if self._halves else x)


@register
class PPHGNetV2(nn.Layer):
    """A stem and four stages of strides 4, 8, 16 and 32, those of ``return_idx`` returned.

    ``lr_mult_list`` multiplies the learning rate of the stem and of each stage. The stem, and without
    ``freeze_stem_only`` the stages up to ``freeze_at``, are not trained (-1: all are); ``freeze_norm`` keeps every
    normalisation at its running statistics.
    """

    def __init__(
        self,
        *,
        arch: Literal["L", "X", "H"],
        use_lab: Literal[False] = False,
        lr_mult_list: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0),
        return_idx: Sequence[int] = (1, 2, 3),
        freeze_stem_only: bool = True,
        freeze_at: int = 0,
        freeze_norm: bool = True,
    ):
        super().__init__()
        size = SIZES[arch]
        if len(lr_mult_list) != 5 or not return_idx or not set(return_idx) <= set(range(4)):
            raise ConfigError(
                f"PPHGNetV2.lr_mult_list has {len(lr_mult_list)} numbers, expected 5; return_idx is "
                f"{list(return_idx)}: choose stages 0..3"
            )
        make = [partial(Unit, lr=lr, frozen=freeze_norm) for lr in lr_mult_list]
        self.return_idx = tuple(return_idx)
        self.stem = Stem(*size.stem, make[0])
        inputs = (size.stem[1], *size.widths[:-1])
        self.stages = nn.LayerList(
            Stage(
                inputs[i],
                size.middle[i],
                size.widths[i],
                count=size.blocks[i],
                halves=i > 0,
                light=i > 1,
                make=make[i + 1],
            )
            for i in range(4)
        )
        self.out_specs = tuple(LevelSpec(size.widths[i], 4 << i) for i in sorted(return_idx))
        for part in (self.stem, *([] if freeze_stem_only else self.stages[: freeze_at + 1])) if freeze_at >= 0 else ():
            freeze(part)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The maps of ``out_specs``, finest first, of an image batch [N, 3, H, W]."""
        x, outputs = self.stem(image), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.return_idx:
                outputs.append(x)
        return outputs


def _widened(x: Tensor) -> Tensor:
    """One more row and column of zeros at the end: what keeps the size through a kernel of 2, and through a pooling of
    activated numbers, which are not negative."""
    return F.pad(x, [0, 1, 0, 1])
