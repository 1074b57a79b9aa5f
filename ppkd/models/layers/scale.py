"""A learnt factor."""

from __future__ import annotations

from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import Constant


class ScaleReg(nn.Layer):
    """Multiplies by one learnt number, 1 at the start: what a level adds to numbers whose layers all levels share."""

    def __init__(self) -> None:
        super().__init__()
        self.scale_reg = self.create_parameter([1], attr=ParamAttr(initializer=Constant(1.0)), dtype="float32")

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of any shape times the number."""
        return x * self.scale_reg
