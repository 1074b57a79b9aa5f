"""Low precision on a CPU, where Paddle's automatic casting does nothing: numbers are rounded where it would cast.

The arguments and results of the operators in ``ROUNDED`` are rounded to the type asked for, in the backward pass too,
and the sums between are float32, as in a GPU's matrix units.
"""

from __future__ import annotations

from contextlib import contextmanager

import paddle
import pytest
from paddle import Tensor, _C_ops

O1 = {"conv2d": 2, "linear": 2, "matmul": 2}
O2 = {
    **O1,
    "depthwise_conv2d": 2,
    "conv2d_transpose": 2,
    "deformable_conv": 2,
    "batch_norm": 1,
    "add": 2,
    "relu": 1,
    "leaky_relu": 1,
    "hardswish": 1,
}
ROUNDED = {"O1": O1, "O2": O2}
"""The operators of each level, and how many of their first arguments are rounded."""


class Rounding:
    """Takes the place of ``paddle.amp.auto_cast``; ``dtype`` is the type in force, ``None`` for float32."""

    def __init__(self) -> None:
        self.dtype: str | None = None
        self.level = "O1"

    @contextmanager
    def auto_cast(self, enable=True, *, level="O1", dtype="float16", use_promote=True, custom_black_list=None):
        before = (self.dtype, self.level)
        self.dtype, self.level = (dtype if enable else None), level
        try:
            yield
        finally:
            self.dtype, self.level = before

    def operator(self, name, own):
        """The operator ``own``, rounded where the level in force says so."""

        def call(*arguments, **named):
            count = ROUNDED[self.level].get(name) if self.dtype else None
            if count is None:
                return own(*arguments, **named)
            result = own(*map(self.round, arguments[:count]), *arguments[count:], **named)
            return (self.round(result[0]), *result[1:]) if isinstance(result, list | tuple) else self.round(result)

        return call

    def round(self, value):
        if not isinstance(value, Tensor) or value.dtype != paddle.float32:
            return value
        return value.astype(self.dtype).astype("float32")


@contextmanager
def rounded():
    """Inside, automatic casting rounds."""
    with pytest.MonkeyPatch.context() as patch:
        rounding = Rounding()
        patch.setattr(paddle.amp, "auto_cast", rounding.auto_cast)
        for name in O2:
            patch.setattr(_C_ops, name, rounding.operator(name, getattr(_C_ops, name)))
        yield rounding
