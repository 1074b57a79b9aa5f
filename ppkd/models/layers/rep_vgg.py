"""Convolutions that train as two branches and are shipped as one (Ding et al., "RepVGG", arXiv:2101.03697)."""

from __future__ import annotations

import copy
from typing import TypeVar

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Constant
from paddle.regularizer import L2Decay

from ppkd.models.layers.activation import ACTIVATIONS, Activation
from ppkd.models.layers.conv_norm_act import ConvBNAct
from ppkd.models.layers.folding import folded

M = TypeVar("M", bound=nn.Layer)


class RepVggBlock(nn.Layer):
    """The sum of a 3x3 and a 1x1 convolution, each normalised, then an activation; the size stays.

    With ``alpha`` a trained factor, 1 at the start, multiplies the 1x1 branch while it is positive.
    """

    def __init__(self, in_channels: int, out_channels: int, *, act: Activation, alpha: bool = False):
        super().__init__()
        self._act = act
        self.conv1 = ConvBNAct(in_channels, out_channels, 3)
        self.conv2 = ConvBNAct(in_channels, out_channels, 1)
        self.alpha = None
        if alpha:
            attr = ParamAttr(initializer=Constant(1.0), regularizer=L2Decay(0.0))
            self.alpha = self.create_parameter([1], attr=attr)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H, W]."""
        second = self.conv2(x)
        if self.alpha is not None:
            second = self._factor(self.alpha) * second
        return self.activated(self.conv1(x) + second)

    def activated(self, x: Tensor) -> Tensor:
        """What follows the sum."""
        return ACTIVATIONS[self._act](x)

    @staticmethod
    def _factor(alpha: Tensor) -> Tensor:
        """``alpha`` where it is positive, else 1, which sends it no gradient.

        PaddleDetection asks ``if self.alpha:``, in training, evaluation and re-parameterisation, and Paddle's
        ``bool(tensor)`` means ``> 0``: its published weights were trained and are to be read so. Selected on the
        device, because asking the host would wait for it in every block of every step.
        """
        return paddle.where(alpha > 0, alpha, paddle.ones_like(alpha))

    def one_convolution(self) -> tuple[Tensor, Tensor]:
        """Weight [out, in, 3, 3] and bias [out] of the convolution that computes the sum in evaluation mode."""
        weight, bias = folded(self.conv1.conv, self.conv1.bn)
        small, shift = folded(self.conv2.conv, self.conv2.bn)
        factor = 1.0 if self.alpha is None else self._factor(self.alpha)
        return weight + factor * F.pad(small, [1, 1, 1, 1]), bias + factor * shift

    @paddle.no_grad()
    def merged(self) -> MergedConv:
        """The single convolution that computes the same in evaluation mode."""
        return MergedConv(*self.one_convolution(), self._act)


class MergedConv(nn.Layer):
    """A 3x3 convolution of ``weight`` [out, in, 3, 3] and ``bias`` [out], and an activation."""

    def __init__(self, weight: Tensor, bias: Tensor, act: Activation):
        super().__init__()
        self._act = act
        self.conv = nn.Conv2D(weight.shape[1], weight.shape[0], 3, padding=1)
        self.conv.weight.set_value(weight)
        self.conv.bias.set_value(bias)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, H, W] to [N, out, H, W]."""
        return ACTIVATIONS[self._act](self.conv(x))


def merged(model: M) -> M:
    """``model`` with a single convolution for every :class:`RepVggBlock`: a copy if it has any, for evaluation only."""
    if not any(isinstance(layer, RepVggBlock) for layer in model.sublayers()):
        return model
    model = copy.deepcopy(model)
    for parent in model.sublayers(include_self=True):
        for name, child in list(parent.named_children()):
            if isinstance(child, RepVggBlock):
                setattr(parent, name, child.merged())
    return model
