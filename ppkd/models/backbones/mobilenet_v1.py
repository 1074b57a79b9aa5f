"""MobileNetV1 (Howard et al., "MobileNets: Efficient Convolutional Neural Networks", arXiv:1704.04861)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import Dirac, KaimingNormal
from paddle.regularizer import L2Decay

from ppkd.config import register
from ppkd.models.layers.conv_norm_act import ConvNormAct
from ppkd.models.layers.norm import NormType, batch_norm
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError

# name, input channels, output channels, stride of each depthwise separable block
BLOCKS = (
    ("conv2_1", 32, 64, 1),
    ("conv2_2", 64, 128, 2),
    ("conv3_1", 128, 128, 1),
    ("conv3_2", 128, 256, 2),
    ("conv4_1", 256, 256, 1),
    ("conv4_2", 256, 512, 2),
    *((f"conv5_{i}", 512, 512, 1) for i in range(1, 6)),
    ("conv5_6", 512, 1024, 2),
    ("conv6", 1024, 1024, 1),
)


class ConvBNReLU(ConvNormAct):
    """Convolution without bias, batch normalisation, ReLU.

    A depthwise kernel (``groups`` above 1) starts as the identity. Thirteen random ones in a row, without shortcuts,
    scramble where things are, and training from scratch stands still for a thousand steps (docs/training.md).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        lr: float,
        conv_decay: float,
        norm_decay: float,
    ):
        initializer = KaimingNormal() if groups == 1 else Dirac(groups)
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            names=("_conv", "_batch_norm"),
            norm=batch_norm(out_channels, decay=norm_decay),
            stride=stride,
            groups=groups,
            act="relu",
            weight_attr=ParamAttr(learning_rate=lr, initializer=initializer, regularizer=L2Decay(conv_decay)),
        )


class DepthwiseSeparable(nn.Layer):
    """A 3x3 convolution per channel, then a 1x1 convolution across channels; ``conv`` makes both."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, conv: partial[ConvBNReLU]):
        super().__init__()
        self._depthwise_conv = conv(in_channels, in_channels, 3, stride=stride, groups=in_channels)
        self._pointwise_conv = conv(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H / stride, W / stride]."""
        return self._pointwise_conv(self._depthwise_conv(x))


@register(shared=("norm_type",), aliases=("MobileNet",))
class MobileNetV1(nn.Layer):
    """MobileNetV1 without its classifier.

    ``scale`` multiplies all widths. ``feature_maps`` picks the outputs by number of the depthwise separable block,
    1 to 13. ``conv_learning_rate`` multiplies the learning rate of the convolutions; ``conv_decay`` and ``norm_decay``
    are weight decays that replace the optimizer's own. The extra blocks of SSD do not exist here.
    """

    def __init__(
        self,
        *,
        norm_type: NormType = "bn",
        norm_decay: float = 0.0,
        conv_decay: float = 0.0,
        scale: float = 1.0,
        conv_learning_rate: float = 1.0,
        feature_maps: Sequence[int] = (4, 6, 13),
        with_extra_blocks: Literal[False] = False,
        extra_block_filters: Sequence[Sequence[int]] = (),
    ):
        super().__init__()
        if not feature_maps or not set(feature_maps) <= set(range(1, len(BLOCKS) + 1)):
            raise ConfigError(
                f"MobileNetV1.feature_maps is {list(feature_maps)}: choose block numbers 1..{len(BLOCKS)}."
            )
        if int(32 * scale) < 1:
            raise ConfigError(f"MobileNetV1.scale is {scale}: the first of its layers, 32 wide, has no channel left.")
        conv = partial(ConvBNReLU, lr=conv_learning_rate, conv_decay=conv_decay, norm_decay=norm_decay)
        self.feature_maps = tuple(feature_maps)
        self.conv1 = conv(3, int(32 * scale), 3, stride=2)
        specs, total_stride = [], 2
        for name, in_channels, out_channels, stride in BLOCKS:
            width = int(out_channels * scale)
            self.add_sublayer(name, DepthwiseSeparable(int(in_channels * scale), width, stride, conv))
            total_stride *= stride
            specs.append(LevelSpec(channels=width, stride=total_stride))
        self.out_specs = tuple(specs[number - 1] for number in sorted(self.feature_maps))

    def forward(self, image: Tensor) -> list[Tensor]:
        """The maps of ``out_specs``, finest first, of an image batch [N, 3, H, W]."""
        x, outputs = self.conv1(image), []
        for i in range(len(BLOCKS)):
            x = getattr(self, BLOCKS[i][0])(x)
            if i + 1 in self.feature_maps:
                outputs.append(x)
        return outputs
