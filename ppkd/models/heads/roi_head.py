"""What a two-stage detector computes of each proposal before its outputs."""

from __future__ import annotations

from paddle import nn


class RoIHead(nn.Layer):
    """Makes numbers, or maps with ``gives_maps``, of what was pooled at proposals, [N, R, C, side, side].

    ``resolution`` is the side it wants, None where any does; ``out_channel`` how many numbers or channels it gives.
    """

    def __init__(self, *, resolution: int | None, out_channel: int, gives_maps: bool):
        super().__init__()
        self.resolution = resolution
        self.out_channel = out_channel
        self.gives_maps = gives_maps
