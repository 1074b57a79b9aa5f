"""Numbers as 8 bits hold them: the same rounding as ``QuantizeLinear`` and ``DequantizeLinear`` of ONNX.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
arXiv:1712.05877. Gradients pass the rounding as if it were not there, and end where a number is cut off.
"""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

STEPS = 255
"""Of an activation: 8 bits without sign."""
LARGEST = 127
"""Of a weight: 8 bits with sign, as far below zero as above."""
_SMALLEST = 1e-7


class Range(nn.Layer):
    """The range ``low`` to ``high`` of the numbers that pass, moved by every batch: ``begin``, what passes, ``settle``.

    In training it is the moving average of the smallest and the largest number of a batch, of which a new batch has
    the share ``1 - rate``; with ``above_zero`` it begins at 0. While it is ``measuring`` it grows to what passes, which
    stays as it is.

    Attributes:
        low, high: float32 scalars, buffers.
        measuring: whether the range grows now.
    """

    def __init__(self, *, rate: float, above_zero: bool) -> None:
        super().__init__()
        self._rate = rate
        self._above_zero = above_zero
        self.measuring = False
        self._seen: tuple[Tensor, Tensor] | None = None
        for name in ("low", "high"):
            self.register_buffer(name, paddle.zeros([], "float32"))

    def forward(self, x: Tensor, *, moves: bool) -> Tensor:
        """``x`` of any shape with 256 different numbers at most; ``moves``: the range follows ``x``."""
        if self.measuring or moves:
            self._see(x)
        if self.measuring:
            return x
        scale, zero = scale_of(self.low, self.high)
        low, high = -zero * scale, (STEPS - zero) * scale
        kept = paddle.minimum(paddle.maximum(x.astype("float32"), low), high)
        return _rounded(kept, scale).astype(x.dtype)

    def begin(self) -> None:
        """Forget what passed since the last batch was settled."""
        self._seen = None

    @paddle.no_grad()
    def settle(self) -> None:
        """Move the range by what passed of one batch, on all levels together: most have smaller numbers than one."""
        if self._seen is None:
            return
        low, high = self._seen
        if self.measuring:
            low, high = paddle.minimum(low, self.low), paddle.maximum(high, self.high)
        else:
            low, high = (self._rate * old + (1 - self._rate) * new for old, new in ((self.low, low), (self.high, high)))
        paddle.assign(low, self.low)
        paddle.assign(high, self.high)
        self._seen = None

    @paddle.no_grad()
    def _see(self, x: Tensor) -> None:
        x = x.detach().astype("float32")
        low, high = paddle.zeros([]) if self._above_zero else x.min(), x.max()
        if self._seen is not None:
            low, high = paddle.minimum(low, self._seen[0]), paddle.maximum(high, self._seen[1])
        self._seen = low, high


@paddle.no_grad()
def scale_of(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of two steps of a range that holds 0, and the step that is 0, a whole number: float32 scalars."""
    zeros = paddle.zeros_like(low)
    low, high = paddle.minimum(low, zeros), paddle.maximum(high, zeros)
    scale = paddle.maximum(high - low, zeros + _SMALLEST) / STEPS
    return scale, paddle.round(-low / scale)


def rounded_weight(weight: Tensor) -> Tensor:
    """``weight`` [out, ...] with 255 different numbers at most in each of the first axis, the largest one unchanged."""
    with paddle.no_grad():
        largest = weight.abs().astype("float32").flatten(1).max(axis=1)
        scale = paddle.clip(largest, min=_SMALLEST) / LARGEST
        scale = scale.reshape([-1] + [1] * (weight.ndim - 1)).astype(weight.dtype)
    return _rounded(weight, scale)


def _rounded(x: Tensor, scale: Tensor) -> Tensor:
    """The nearest multiples of ``scale``, with the gradient of ``x``."""
    with paddle.no_grad():
        steps = paddle.round(x / scale) * scale
    return x + (steps - x).detach()
