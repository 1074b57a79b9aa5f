"""DarkNet-53 (Redmon and Farhadi, "YOLOv3: An Incremental Improvement", arXiv:1804.02767)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from paddle import Tensor, nn

from ppkd.config import register
from ppkd.models.layers.conv_norm_act import ConvBNLeaky
from ppkd.models.layers.norm import NormType, freeze
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError

DEPTHS = {53: (1, 2, 8, 8, 4)}
CHANNELS = (64, 128, 256, 512, 1024)


class DownSample(nn.Layer):
    """A 3x3 convolution of stride 2."""

    def __init__(self, in_channels: int, out_channels: int, conv: partial[ConvBNLeaky]):
        super().__init__()
        self.conv_bn_layer = conv(in_channels, out_channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H / 2, W / 2]."""
        return self.conv_bn_layer(x)


class Residual(nn.Layer):
    """A 1x1 convolution to half the channels, a 3x3 convolution back, and the identity."""

    def __init__(self, channels: int, conv: partial[ConvBNLeaky]):
        super().__init__()
        self.conv1 = conv(channels, channels // 2, 1)
        self.conv2 = conv(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to the same shape."""
        return x + self.conv2(self.conv1(x))


@register(shared=("norm_type", "data_format"))
class DarkNet(nn.Layer):
    """DarkNet without its classifier.

    Stage i of 0..4 has stride 2^(i+1); ``return_idx`` picks the stages whose maps are returned. The stem and the
    stages up to ``freeze_at`` are not trained (-1: all are).
    """

    def __init__(
        self,
        *,
        depth: Literal[53] = 53,
        freeze_at: int = -1,
        return_idx: Sequence[int] = (2, 3, 4),
        num_stages: int = 5,
        norm_type: NormType = "bn",
        norm_decay: float = 0.0,
        freeze_norm: bool = False,
        data_format: Literal["NCHW"] = "NCHW",
    ):
        super().__init__()
        if not return_idx or not set(return_idx) <= set(range(num_stages)):
            raise ConfigError(f"DarkNet.return_idx is {list(return_idx)}: choose stages 0..{num_stages - 1}.")
        conv = partial(ConvBNLeaky, norm_decay=norm_decay, freeze_norm=freeze_norm)
        self.return_idx = tuple(return_idx)
        self.num_stages = num_stages
        self.conv0 = conv(3, 32, 3)
        self.downsample0 = DownSample(32, CHANNELS[0], conv)
        for i, count in enumerate(DEPTHS[depth][:num_stages]):
            names = ["basicblock0", *(f"stage.{i}.{j}" for j in range(1, count))]
            self.add_sublayer(f"stage.{i}", nn.Sequential(*((name, Residual(CHANNELS[i], conv)) for name in names)))
        for i in range(num_stages - 1):
            self.add_sublayer(f"stage.{i}.downsample", DownSample(CHANNELS[i], CHANNELS[i + 1], conv))
        self.out_specs = tuple(LevelSpec(channels=CHANNELS[i], stride=2 ** (i + 1)) for i in sorted(self.return_idx))
        self._freeze(freeze_at)

    def _freeze(self, last: int) -> None:
        if last < 0:
            return
        freeze(self.conv0)
        freeze(self.downsample0)
        for i in range(min(last + 1, self.num_stages)):
            freeze(getattr(self, f"stage.{i}"))
        for i in range(min(last, self.num_stages - 1)):
            freeze(getattr(self, f"stage.{i}.downsample"))

    def forward(self, image: Tensor) -> list[Tensor]:
        """The maps of ``out_specs``, finest first, of an image batch [N, 3, H, W]."""
        x, outputs = self.downsample0(self.conv0(image)), []
        for i in range(self.num_stages):
            x = getattr(self, f"stage.{i}")(x)
            if i in self.return_idx:
                outputs.append(x)
            if i < self.num_stages - 1:
                x = getattr(self, f"stage.{i}.downsample")(x)
        return outputs
