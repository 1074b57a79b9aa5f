"""A layer of a decoder whose queries look at places of maps (Zhu et al., arXiv:2010.04159)."""

from __future__ import annotations

from collections.abc import Sequence

from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import XavierUniform
from paddle.regularizer import L2Decay

from ppkd.models.layers.deformable_attention import MSDeformableAttention
from ppkd.models.layers.linear import linear
from ppkd.models.layers.self_attention import SelfAttention
from ppkd.models.layers.transformer_layer import FEED_FORWARD, FeedForward


class DecoderLayer(nn.Layer):
    """Queries attend to each other, then to places around their boxes, then pass two linear layers.

    Each step is added to its input and normalised. ``hidden`` are the numbers between the linear layers.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        levels: int,
        points: int,
        hidden: int,
        dropout: float,
        activation: FeedForward,
    ):
        super().__init__()
        self._activation = activation
        self.drop = nn.Dropout(dropout)
        self.self_attn = SelfAttention(channels, heads, dropout=dropout)
        self.norm1 = undecayed_norm(channels)
        self.cross_attn = MSDeformableAttention(channels, heads, levels, points)
        self.norm2 = undecayed_norm(channels)
        self.linear1 = linear(channels, hidden, weight=XavierUniform())
        self.linear2 = linear(hidden, channels, weight=XavierUniform())
        self.norm3 = undecayed_norm(channels)

    def forward(
        self, queries: Tensor, positions: Tensor, boxes: Tensor, maps: Sequence[Tensor], hidden: Tensor | None
    ) -> Tensor:
        """The queries [N, Q, channels] after this layer.

        Args:
            queries: float [N, Q, channels].
            positions: float [N, Q, channels], what the queries' boxes add to them.
            boxes: float32 [N, Q, 4], cx, cy, w, h in shares of the image.
            maps: float [N, channels, H, W] of each level.
            hidden: which queries do not see which, see :class:`SelfAttention`.
        """
        queries = self.norm1(queries + self.drop(self.self_attn(queries + positions, queries, hidden)))
        queries = self.norm2(queries + self.drop(self.cross_attn(queries + positions, boxes, maps)))
        inner = self.drop(FEED_FORWARD[self._activation](self.linear1(queries)))
        return self.norm3(queries + self.drop(self.linear2(inner)))


def undecayed_norm(channels: int) -> nn.LayerNorm:
    """Layer normalisation of [..., channels] without weight decay."""
    attrs = (ParamAttr(regularizer=L2Decay(0.0)) for _ in range(2))
    return nn.LayerNorm(channels, weight_attr=next(attrs), bias_attr=next(attrs))
