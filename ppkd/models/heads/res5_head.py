"""The last stage of a ResNet as the second stage of a detector without a pyramid, "C4"."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from paddle import Tensor

from ppkd.config import register
from ppkd.models.backbones.residual import WIDTHS
from ppkd.models.backbones.resnet import Depth, stage
from ppkd.models.backbones.resnet_blocks import BasicBlock, BottleNeck, ConvNorm
from ppkd.models.heads.roi_head import RoIHead
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError

LAST, BLOCKS = 3, 3
"""The stage by its position among all, and its number of blocks: that of depth 50 and more, for all as published."""


@register
class Res5Head(RoIHead):
    """The fifth stage of a ResNet of ``depth`` on each proposal (He et al., arXiv:1512.03385, appendix A).

    Its input are the maps of the fourth stage, whose channels ``in_specs`` tells. As in PaddleDetection it has variant
    b whatever the backbone's, and its normalisation keeps its statistics; ImageNet weights start it. Raises
    :class:`ConfigError` for maps that a ResNet of that depth does not have there.
    """

    def __init__(self, *, in_specs: Sequence[LevelSpec], depth: Depth = 50):
        block = BottleNeck if depth >= 50 else BasicBlock
        super().__init__(resolution=None, out_channel=WIDTHS[LAST] * block.expansion, gives_maps=True)
        channels, found = WIDTHS[LAST - 1] * block.expansion, in_specs[0].channels
        if found != channels:
            raise ConfigError(
                f"Res5Head.depth is {depth}: it reads the {channels} channels of res4, but the maps have {found}: set "
                "depth to the backbone's, return_idx: [2] and no neck."
            )
        make = partial(block, variant="b", deformable=False, conv=partial(ConvNorm))
        self.res5 = stage(LAST + 2, BLOCKS, channels, WIDTHS[LAST], make)

    def forward(self, pooled: Tensor) -> Tensor:
        """[N, R, C, side, side] to [N, R, out_channel, side / 2, side / 2]."""
        maps = self.res5(pooled.flatten(0, 1))
        return maps.reshape([-1, pooled.shape[1], *maps.shape[1:]])
