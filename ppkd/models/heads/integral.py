"""Boxes whose sides are distributions (Li et al., arXiv:2006.04388, section 3.1)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.models.postprocess.dense_decode import by_anchor
from ppkd.structures.boxes import decode_distances


class SideDistributions(nn.Layer):
    """Each side of a box is a distribution over the distances 0, 1, ..., ``reg_max`` from its point, in strides.

    A subclass says under which name published weights hold these distances.
    """

    def __init__(self, *, reg_max: int):
        super().__init__()
        self.reg_max = reg_max

    @property
    @abstractmethod
    def bins(self) -> Tensor:
        """The distances 0..``reg_max`` in any shape."""

    @property
    def channels(self) -> int:
        """How many logits a box has."""
        return 4 * (self.reg_max + 1)

    def forward(self, sides: Tensor) -> Tensor:
        """Mean distances l, t, r, b float32 [..., 4] of logits [..., 4 * (reg_max + 1)], bins fastest."""
        bins = self.bins.reshape([-1, 1]).astype("float32")
        return paddle.matmul(F.softmax(self.split(sides), axis=-1), bins).squeeze(-1)

    def split(self, sides: Tensor) -> Tensor:
        """Logits [..., 4 * (reg_max + 1)] side by side: float32 [..., 4, reg_max + 1]."""
        return sides.astype("float32").reshape([0] * (sides.ndim - 1) + [4, self.reg_max + 1])

    def decode(self, sides: Tensor, points: Tensor) -> Tensor:
        """Corner boxes float32 [..., 4] in pixels of logits at ``points`` [..., 3] x, y, stride."""
        return decode_distances(points[..., :2], self(sides) * points[..., 2:])

    def boxes(self, levels: Sequence[Tensor], points: Sequence[Tensor]) -> list[Tensor]:
        """Corner boxes float32 [N, H * W, 4] of ``levels`` [N, 1, 4 * (reg_max + 1), H, W] at their cells' points."""
        return [self.decode(by_anchor(level), points[i]) for i, level in enumerate(levels)]


class Integral(SideDistributions):
    """Holds the distances in a buffer ``project`` [reg_max + 1], as GFL's and PicoDet's weights do."""

    def __init__(self, *, reg_max: int = 16):
        super().__init__(reg_max=reg_max)
        self.register_buffer("project", paddle.linspace(0, reg_max, reg_max + 1))

    @property
    def bins(self) -> Tensor:
        """The buffer."""
        return self.project
