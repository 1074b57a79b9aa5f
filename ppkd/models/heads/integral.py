"""Box sides from their distributions (Li et al., arXiv:2006.04388, section 3.1)."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F


class Integral(nn.Layer):
    """The mean of a distribution over the distances 0, 1, ..., ``reg_max``, in strides."""

    def __init__(self, *, reg_max: int = 16):
        super().__init__()
        self.reg_max = reg_max
        self.register_buffer("project", paddle.linspace(0, reg_max, reg_max + 1))

    def forward(self, sides: Tensor) -> Tensor:
        """Distances l, t, r, b float32 [..., 4] of logits [..., 4 * (reg_max + 1)], bins fastest."""
        return paddle.matmul(F.softmax(self.split(sides), axis=-1), self.project.unsqueeze(-1)).squeeze(-1)

    def split(self, sides: Tensor) -> Tensor:
        """Logits [..., 4 * (reg_max + 1)] side by side: float32 [..., 4, reg_max + 1]."""
        return sides.astype("float32").reshape([0] * (sides.ndim - 1) + [4, self.reg_max + 1])
