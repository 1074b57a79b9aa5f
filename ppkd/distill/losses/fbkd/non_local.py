"""The non-local block (Wang et al., CVPR 2018, arXiv 1711.07971) with a plain dot product, at linear cost."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F


class NonLocal(nn.Layer):
    """x + BN(W sum_k theta(x) . phi(x_k) g(x_k) / K) over the K cells x_k of a max-pooled map.

    Nothing stands between the two products, so the one over keys comes first: memory grows with the number of cells,
    not with cells times keys. The normalisation starts at zero, the block as the identity; a block serves in training
    alone, so the statistics are always the batch's and none are kept.

    Args:
        channels: channels of the map.
        reduction: inner convolutions have so many times fewer channels.
        maxpool_stride: side of the pooled windows in cells; a map with a smaller side is pooled over all of that side.
    """

    def __init__(self, channels: int, reduction: int, maxpool_stride: int) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.maxpool_stride = maxpool_stride
        normal = nn.initializer.Normal(std=0.01)
        self.theta, self.phi, self.g = (nn.Conv2D(channels, inner, 1, weight_attr=normal) for _ in range(3))
        self.conv_out = nn.Conv2D(inner, channels, 1, bias_attr=False)
        self.norm_weight, self.norm_bias = (
            self.create_parameter([channels], default_initializer=nn.initializer.Constant(0.0)) for _ in range(2)
        )

    def forward(self, feature: Tensor) -> Tensor:
        """The block of a map [N, C, H, W], of the same shape."""
        window = [min(self.maxpool_stride, side) for side in feature.shape[2:]]
        keys, values = (F.max_pool2d(conv(feature), window, window).flatten(2) for conv in (self.phi, self.g))
        mixed = paddle.matmul(values, keys, transpose_y=True) / keys.shape[2]
        query = self.theta(feature)
        context = paddle.matmul(mixed, query.flatten(2)).reshape(query.shape)
        return feature + self._normalised(self.conv_out(context))

    def _normalised(self, feature: Tensor) -> Tensor:
        channels = [feature.shape[1]]
        return F.batch_norm(
            feature,
            paddle.zeros(channels),
            paddle.ones(channels),
            weight=self.norm_weight,
            bias=self.norm_bias,
            training=True,
        )
