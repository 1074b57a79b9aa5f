"""Linear layers as the published transformers start them."""

from __future__ import annotations

from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Constant, Initializer, Uniform


def linear(
    in_channels: int, out_channels: int, *, weight: Initializer | None = None, bias: float | None = None
) -> nn.Linear:
    """[..., in_channels] to [..., out_channels]; without a ``weight`` or ``bias`` given, uniform in +-1 / sqrt(in)."""
    bound = in_channels**-0.5
    return nn.Linear(
        in_channels,
        out_channels,
        weight_attr=ParamAttr(initializer=weight or Uniform(-bound, bound)),
        bias_attr=ParamAttr(initializer=Uniform(-bound, bound) if bias is None else Constant(bias)),
    )


class MLP(nn.Layer):
    """As many ``linears`` as are given, with ReLU between them."""

    def __init__(self, *linears: nn.Linear):
        super().__init__()
        self.layers = nn.LayerList(linears)

    def forward(self, x: Tensor) -> Tensor:
        """[..., channels of the first] to [..., channels of the last]."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)
