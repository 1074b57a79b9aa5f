"""ResNet (He et al., "Deep Residual Learning", arXiv:1512.03385), variants b to d after He et al., arXiv:1812.01187."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.backbones.resnet_blocks import BasicBlock, BottleNeck, ConvNorm
from ppkd.models.layers.norm import NormType, freeze
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
WIDTHS = (64, 128, 256, 512)


def block_names(stage: int, count: int) -> list[str]:
    """Names of the blocks of a stage, 2 to 5: letters, but a, b1, b2, ... in the long fourth stage."""
    if stage == 4 and count > 10:
        return [f"res{stage}a", *(f"res{stage}b{i}" for i in range(1, count))]
    return [f"res{stage}{chr(ord('a') + i)}" for i in range(count)]


@register(shared=("norm_type",))
class ResNet(nn.Layer):
    """ResNet without its classifier.

    Stage i of 0..3 has stride 2^(i+2); ``return_idx`` picks the stages whose maps are returned, ``dcn_v2_stages``
    those with deformable 3x3 convolutions, ``lr_mult_list`` multiplies the learning rate stage by stage. The stem and
    the stages up to ``freeze_at`` are not trained (-1: all are); ``freeze_norm`` keeps every normalisation at its
    running statistics. ``groups`` and ``base_width`` above their defaults make a ResNeXt.
    """

    def __init__(
        self,
        *,
        depth: Literal[18, 34, 50, 101, 152] = 50,
        variant: Literal["a", "b", "c", "d"] = "b",
        lr_mult_list: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        groups: int = 1,
        base_width: int = 64,
        norm_type: NormType = "bn",
        norm_decay: float = 0.0,
        freeze_norm: bool = True,
        freeze_at: int = 0,
        return_idx: Sequence[int] = (0, 1, 2, 3),
        dcn_v2_stages: Sequence[int] = (-1,),
        num_stages: int = 4,
    ):
        super().__init__()
        _check(depth, groups, base_width, lr_mult_list, num_stages, return_idx)
        self.return_idx = tuple(return_idx)
        self.num_stages = num_stages
        make = partial(ConvNorm, norm_decay=norm_decay, freeze_norm=freeze_norm)
        self.conv1 = _stem(variant, "conv1" if groups == 1 else "res_conv1", make)
        block = partial(BottleNeck, groups=groups, base_width=base_width) if depth >= 50 else BasicBlock
        expansion = BottleNeck.expansion if depth >= 50 else BasicBlock.expansion
        channels = WIDTHS[0]
        for i, count in enumerate(DEPTHS[depth][:num_stages]):
            conv = partial(make, lr=lr_mult_list[i])
            make_block = partial(block, variant=variant, deformable=i in dcn_v2_stages, conv=conv)
            blocks = [make_block(channels, WIDTHS[i], 1 if i == 0 else 2, first=True)]
            channels = WIDTHS[i] * expansion
            blocks += [make_block(channels, WIDTHS[i], 1, first=False) for _ in range(count - 1)]
            names = block_names(i + 2, count)
            self.add_sublayer(f"res{i + 2}", nn.Sequential(*zip(names, blocks, strict=True)))
        self.out_specs = tuple(LevelSpec(WIDTHS[i] * expansion, 2 ** (i + 2)) for i in sorted(self.return_idx))
        self._freeze(freeze_at)

    def _freeze(self, last: int) -> None:
        if last < 0:
            return
        freeze(self.conv1)
        for i in range(min(last + 1, self.num_stages)):
            freeze(getattr(self, f"res{i + 2}"))

    def forward(self, image: Tensor) -> list[Tensor]:
        """The maps of ``out_specs``, finest first, of an image batch [N, 3, H, W]."""
        x, outputs = F.max_pool2d(self.conv1(image), kernel_size=3, stride=2, padding=1), []
        for i in range(self.num_stages):
            x = getattr(self, f"res{i + 2}")(x)
            if i in self.return_idx:
                outputs.append(x)
        return outputs


def _stem(variant: str, name: str, conv: partial[ConvNorm]) -> nn.Sequential:
    """One 7x7 convolution, in variants c and d three 3x3 ones; stride 2, 64 channels."""
    width = WIDTHS[0]
    if variant in ("c", "d"):
        return nn.Sequential(
            ("conv1_1", conv(3, width // 2, 3, stride=2, relu=True)),
            ("conv1_2", conv(width // 2, width // 2, 3, relu=True)),
            ("conv1_3", conv(width // 2, width, 3, relu=True)),
        )
    return nn.Sequential((name, conv(3, width, 7, stride=2, relu=True)))


def _check(
    depth: int, groups: int, base_width: int, lr_mult_list: Sequence[float], num_stages: int, return_idx: Sequence[int]
) -> None:
    if depth < 50 and (groups, base_width) != (1, 64):
        raise ConfigError(f"ResNet.groups and base_width need bottleneck blocks: depth is {depth}, choose 50 or more.")
    if not 1 <= num_stages <= 4 or len(lr_mult_list) != 4:
        raise ConfigError(
            f"ResNet.num_stages is {num_stages}, expected 1..4; "
            f"lr_mult_list has {len(lr_mult_list)} numbers, expected 4."
        )
    if not return_idx or not set(return_idx) <= set(range(num_stages)):
        raise ConfigError(f"ResNet.return_idx is {list(return_idx)}: choose stages 0..{num_stages - 1}.")
