"""The layer of an encoder that is a transformer (Vaswani et al., arXiv:1706.03762)."""

from __future__ import annotations

from typing import Literal

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.layers.linear import linear
from ppkd.models.layers.self_attention import SelfAttention

FeedForward = Literal["relu", "gelu"]
"""What activates the hidden numbers of a transformer's layers."""

FEED_FORWARD = {"relu": F.relu, "gelu": F.gelu}


@register
class TransformerLayer(nn.Layer):
    """Attention of all tokens to each other, then two linear layers, each added to its input and normalised.

    ``d_model`` are the channels, split among ``nhead`` heads, ``dim_feedforward`` the hidden numbers.
    """

    def __init__(
        self,
        *,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 1024,
        dropout: float = 0.0,
        activation: FeedForward = "relu",
    ):
        super().__init__()
        self.d_model = d_model
        self._activation = activation
        self.self_attn = SelfAttention(d_model, nhead, dropout=dropout)
        self.linear1 = linear(d_model, dim_feedforward)
        self.linear2 = linear(dim_feedforward, d_model)
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Tokens [N, P, d_model] to the same; ``positions`` [1, P, d_model] are added where tokens are compared."""
        tokens = self.norm1(tokens + self.drop(self.self_attn(tokens + positions, tokens)))
        hidden = self.drop(FEED_FORWARD[self._activation](self.linear1(tokens)))
        return self.norm2(tokens + self.drop(self.linear2(hidden)))


def sine_positions(first: int, second: int, channels: int, temperature: float) -> Tensor:
    """Waves of falling frequency, float32 [1, first * second, channels], for places counted in two directions.

    A place is first * number of seconds + second. Its channels are sines and cosines of the ``first`` count, then of
    the ``second``, a quarter each; ``temperature`` divides the highest frequency to give the lowest.
    """
    quarter = channels // 4
    frequencies = 1.0 / temperature ** (paddle.arange(quarter, dtype="float32") / quarter)
    counts = paddle.meshgrid(paddle.arange(first, dtype="float32"), paddle.arange(second, dtype="float32"))
    angles = [count.reshape([-1, 1]) * frequencies for count in counts]
    return paddle.concat([wave(angle) for angle in angles for wave in (paddle.sin, paddle.cos)], axis=1).unsqueeze(0)
