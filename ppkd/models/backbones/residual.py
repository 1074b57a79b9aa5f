"""What residual backbones have in common: a stem, and stages whose maps are returned."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.models.backbones.resnet_blocks import ConvNorm
from ppkd.models.layers.norm import freeze
from ppkd.utils.errors import ConfigError

WIDTHS = (64, 128, 256, 512)
"""Channels of the stages before expansion; the first is also the stem's."""


class ResidualBackbone(nn.Layer):
    """A stem of stride 4 with its pooling and up to four stages, ``res2`` to ``res5``, that a subclass adds.

    ``stem_name`` is the sublayer that is the stem. Raises :class:`ConfigError` for stages that do not exist.
    """

    def __init__(self, *, stem_name: str, num_stages: int, return_idx: Sequence[int], lr_mult_list: Sequence[float]):
        super().__init__()
        name = type(self).__name__
        if not 1 <= num_stages <= 4 or len(lr_mult_list) != 4:
            raise ConfigError(
                f"{name}.num_stages is {num_stages}, expected 1..4; "
                f"lr_mult_list has {len(lr_mult_list)} numbers, expected 4."
            )
        if not return_idx or not set(return_idx) <= set(range(num_stages)):
            raise ConfigError(f"{name}.return_idx is {list(return_idx)}: choose stages 0..{num_stages - 1}.")
        self.stem_name = stem_name
        self.num_stages = num_stages
        self.return_idx = tuple(return_idx)

    def freeze_up_to(self, last: int, *, stem_only: bool = False) -> None:
        """Train neither the stem nor, unless ``stem_only``, the stages 0..``last``; -1 leaves everything as it is."""
        if last < 0:
            return
        freeze(getattr(self, self.stem_name))
        for i in range(0 if stem_only else min(last + 1, self.num_stages)):
            freeze(getattr(self, f"res{i + 2}"))

    def forward(self, image: Tensor) -> list[Tensor]:
        """The maps of ``out_specs``, finest first, of an image batch [N, 3, H, W]."""
        x = F.max_pool2d(getattr(self, self.stem_name)(image), kernel_size=3, stride=2, padding=1)
        outputs = []
        for i in range(self.num_stages):
            x = getattr(self, f"res{i + 2}")(x)
            if i in self.return_idx:
                outputs.append(x)
        return outputs


def stem(variant: str, name: str, conv: partial[ConvNorm]) -> nn.Sequential:
    """One 7x7 convolution called ``name``, in variants c and d three 3x3 ones; stride 2, 64 channels."""
    width = WIDTHS[0]
    if variant in ("c", "d"):
        return nn.Sequential(
            ("conv1_1", conv(3, width // 2, 3, stride=2, relu=True)),
            ("conv1_2", conv(width // 2, width // 2, 3, relu=True)),
            ("conv1_3", conv(width // 2, width, 3, relu=True)),
        )
    return nn.Sequential((name, conv(3, width, 7, stride=2, relu=True)))
