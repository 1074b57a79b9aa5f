"""Two fully connected layers as the second stage of a detector on a pyramid."""

from __future__ import annotations

from collections.abc import Sequence

from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import XavierUniform

from ppkd.config import register
from ppkd.models.heads.roi_head import RoIHead
from ppkd.structures import LevelSpec


@register
class TwoFCHead(RoIHead):
    """Two fully connected layers of ``out_channel`` numbers with ReLU (Lin et al., arXiv:1612.03144, section 4.2).

    ``resolution`` is the side of the pooled features, whose channels ``in_specs`` tells.
    """

    def __init__(self, *, in_specs: Sequence[LevelSpec], out_channel: int = 1024, resolution: int = 7):
        super().__init__(resolution=resolution, out_channel=out_channel, gives_maps=False)
        numbers = in_specs[0].channels * resolution * resolution
        self.fc6 = nn.Linear(numbers, out_channel, weight_attr=ParamAttr(initializer=XavierUniform(fan_out=numbers)))
        self.fc7 = nn.Linear(out_channel, out_channel, weight_attr=ParamAttr(initializer=XavierUniform()))

    def forward(self, pooled: Tensor) -> Tensor:
        """[N, R, C, resolution, resolution] to [N, R, out_channel]."""
        return F.relu(self.fc7(F.relu(self.fc6(pooled.flatten(2)))))
