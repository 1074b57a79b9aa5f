"""ResNet (He et al., "Deep Residual Learning", arXiv:1512.03385), variants b to d after He et al., arXiv:1812.01187."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from paddle import nn

from ppkd.config import register
from ppkd.models.backbones.residual import WIDTHS, ResidualBackbone, stem
from ppkd.models.backbones.resnet_blocks import BasicBlock, BottleNeck, ConvNorm
from ppkd.models.layers.norm import NormType
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError

Depth = Literal[18, 34, 50, 101, 152]
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def stage(
    number: int, count: int, in_channels: int, width: int, block: Callable[..., BasicBlock | BottleNeck]
) -> nn.Sequential:
    """Stage ``number``, 2 to 5, of ``count`` blocks; all but the second halve the sides of their maps."""
    first = block(in_channels, width, 1 if number == 2 else 2, first=True)
    others = [block(width * first.expansion, width, 1, first=False) for _ in range(count - 1)]
    return nn.Sequential(*zip(block_names(number, count), [first, *others], strict=True))


def block_names(stage: int, count: int) -> list[str]:
    """Names of the blocks of a stage, 2 to 5: letters, but a, b1, b2, ... in the long fourth stage."""
    if stage == 4 and count > 10:
        return [f"res{stage}a", *(f"res{stage}b{i}" for i in range(1, count))]
    return [f"res{stage}{chr(ord('a') + i)}" for i in range(count)]


@register(shared=("norm_type",))
class ResNet(ResidualBackbone):
    """ResNet without its classifier.

    Stage i of 0..3 has stride 2^(i+2); ``return_idx`` picks the stages whose maps are returned, ``dcn_v2_stages`` those
    with deformable 3x3 convolutions, ``lr_mult_list`` multiplies the learning rate stage by stage. The stem and the
    stages up to ``freeze_at`` are not trained (-1: all are), with ``freeze_stem_only`` the stem alone; ``freeze_norm``
    keeps every normalisation at its running statistics. ``groups`` and ``base_width`` above their defaults make a
    ResNeXt.
    """

    def __init__(
        self,
        *,
        depth: Depth = 50,
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
        freeze_stem_only: bool = False,
    ):
        super().__init__(stem_name="conv1", num_stages=num_stages, return_idx=return_idx, lr_mult_list=lr_mult_list)
        if depth < 50 and (groups, base_width) != (1, 64):
            raise ConfigError(
                f"ResNet.groups and base_width need bottleneck blocks: depth is {depth}, choose 50 or more."
            )
        make = partial(ConvNorm, norm_decay=norm_decay, freeze_norm=freeze_norm)
        self.conv1 = stem(variant, "conv1" if groups == 1 else "res_conv1", make)
        block = partial(BottleNeck, groups=groups, base_width=base_width) if depth >= 50 else BasicBlock
        expansion = BottleNeck.expansion if depth >= 50 else BasicBlock.expansion
        channels = WIDTHS[0]
        for i, count in enumerate(DEPTHS[depth][:num_stages]):
            conv = partial(make, lr=lr_mult_list[i])
            make_block = partial(block, variant=variant, deformable=i in dcn_v2_stages, conv=conv)
            self.add_sublayer(f"res{i + 2}", stage(i + 2, count, channels, WIDTHS[i], make_block))
            channels = WIDTHS[i] * expansion
        self.out_specs = tuple(LevelSpec(WIDTHS[i] * expansion, 2 ** (i + 2)) for i in sorted(self.return_idx))
        self.freeze_up_to(freeze_at, stem_only=freeze_stem_only)
