"""Attention of tokens to each other (Vaswani et al., arXiv:1706.03762)."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Constant, XavierUniform

from ppkd.models.layers.linear import linear
from ppkd.utils.errors import ConfigError


class SelfAttention(nn.Layer):
    """``heads`` attentions side by side; published weights hold queries, keys and values in one matrix, in this order.

    Raises :class:`ConfigError` unless ``heads`` divides ``channels``.
    """

    def __init__(self, channels: int, heads: int, *, dropout: float = 0.0):
        super().__init__()
        if channels % heads:
            raise ConfigError(f"{channels} channels cannot be split among nhead {heads}: choose a divisor")
        self.channels, self.heads, self.dropout = channels, heads, dropout
        self.in_proj_weight = self.create_parameter([channels, 3 * channels], default_initializer=XavierUniform())
        self.in_proj_bias = self.create_parameter([3 * channels], default_initializer=Constant(0.0))
        self.out_proj = linear(channels, channels, weight=XavierUniform(), bias=0.0)

    def forward(self, compared: Tensor, values: Tensor, hidden: Tensor | None = None) -> Tensor:
        """What each token takes from all others, [N, P, channels].

        Args:
            compared: float [N, P, channels], the tokens with their positions, which queries and keys are made of.
            values: float [N, P, channels], the tokens that are taken.
            hidden: float [P, P], minus infinity where the token of a row does not see that of a column, else 0.
        """
        both = 2 * self.channels
        queries_keys = F.linear(compared, self.in_proj_weight[:, :both], self.in_proj_bias[:both])
        queries, keys = (self._split(part) for part in queries_keys.chunk(2, axis=-1))
        split = self._split(F.linear(values, self.in_proj_weight[:, both:], self.in_proj_bias[both:]))
        alike = paddle.matmul(queries, keys, transpose_y=True) * (self.channels // self.heads) ** -0.5
        shares = F.softmax(alike if hidden is None else alike + hidden)
        shares = F.dropout(shares, self.dropout, training=self.training) if self.dropout else shares
        return self.out_proj(paddle.matmul(shares, split).transpose([0, 2, 1, 3]).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        """[N, P, channels] to [N, heads, P, channels / heads]."""
        return tokens.reshape([0, 0, self.heads, self.channels // self.heads]).transpose([0, 2, 1, 3])
