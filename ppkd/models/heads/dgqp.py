"""Distribution-guided quality predictor (Li et al., "Generalized Focal Loss V2", arXiv:2011.12885)."""

from __future__ import annotations

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Constant, Normal

from ppkd.config import register


@register
class DGQP(nn.Layer):
    """How well a box will fit, from how sharp the distributions of its sides are.

    Two 1x1 convolutions, ``reg_channels`` between them, take the ``reg_topk`` highest probabilities of each side
    and, with ``add_mean``, their mean.
    """

    def __init__(self, *, reg_topk: int = 4, reg_channels: int = 64, add_mean: bool = True):
        super().__init__()
        self.reg_topk = reg_topk
        self.add_mean = add_mean
        # Published weights hold each convolution under two names.
        self.reg_conv1 = self.add_sublayer("dgqp_reg_conv1", _conv(4 * (reg_topk + add_mean), reg_channels))
        self.reg_conv2 = self.add_sublayer("dgqp_reg_conv2", _conv(reg_channels, 1))

    def forward(self, sides: Tensor) -> Tensor:
        """Quality in 0..1, [N, 1, H, W], of side logits [N, 4 * (reg_max + 1), H, W], bins fastest."""
        bins = sides.shape[1] // 4
        probabilities = F.softmax(sides.reshape([0, 4, bins, *sides.shape[2:]]), axis=2)
        highest = paddle.topk(probabilities, self.reg_topk, axis=2)[0]
        if self.add_mean:
            highest = paddle.concat([highest, highest.mean(axis=2, keepdim=True)], axis=2)
        return F.sigmoid(self.reg_conv2(F.relu(self.reg_conv1(highest.flatten(1, 2)))))


def _conv(in_channels: int, out_channels: int) -> nn.Conv2D:
    weight, bias = ParamAttr(initializer=Normal(0.0, 0.01)), ParamAttr(initializer=Constant(0.0))
    return nn.Conv2D(in_channels, out_channels, 1, weight_attr=weight, bias_attr=bias)
