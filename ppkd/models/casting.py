"""Where a network computes in low precision, and where everything around it is float32 again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import paddle
from paddle import Tensor, _C_ops

LowDType = Literal["float16", "bfloat16"]
Level = Literal["O1", "O2"]

ROUNDED: dict[Level, dict[str, int]] = {
    "O1": {"conv2d": 2, "linear": 2, "matmul": 2},
    "O2": {
        "conv2d": 2,
        "linear": 2,
        "matmul": 2,
        "depthwise_conv2d": 2,
        "conv2d_transpose": 2,
        "deformable_conv": 2,
        "batch_norm": 1,
        "add": 2,
        "relu": 1,
        "leaky_relu": 1,
        "hardswish": 1,
    },
}
"""On a processor: the operators of each level, and how many of their first arguments are rounded."""
HALF = (paddle.float16, paddle.bfloat16)
FLOAT32_NORMS = {"group_norm", "layer_norm"}

_rounding: LowDType | None = None


@contextmanager
def low_precision(dtype: LowDType, level: Level) -> Iterator[None]:
    """Inside, networks compute in ``dtype``; parameters stay float32 and are cast where they are used.

    Level O1 casts convolutions and matrix products, O2 everything but normalisation by groups. On a GPU that is
    Paddle's automatic casting. Paddle 3.3 has no eager kernels of these types for a processor (``conv2d``, ``matmul``,
    ``add`` and ``relu`` among others), and its automatic casting does nothing there: then the arguments and the result
    of the operators in ``ROUNDED`` are rounded to ``dtype``, in the backward pass too, and the sums between are
    float32, as in a GPU's matrix units. That shows what a type does to a training; it saves no time.
    """
    if paddle.get_device().startswith("cpu"):
        with _rounded(dtype, level):
            yield
    else:
        norms = FLOAT32_NORMS if level == "O2" else None
        with paddle.amp.auto_cast(level=level, dtype=dtype, use_promote=level == "O1", custom_black_list=norms):
            yield


@paddle.jit.not_to_static
@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, everything is float32 that gets float32, whatever holds outside."""
    global _rounding
    before, _rounding = _rounding, None
    try:
        with paddle.amp.auto_cast(enable=False):
            yield
    finally:
        _rounding = before


def float32(tensor: Tensor) -> Tensor:
    """``tensor`` as float32 if it is of lower precision, itself otherwise."""
    return tensor.astype("float32") if tensor.dtype in HALF else tensor


@contextmanager
def _rounded(dtype: LowDType, level: Level) -> Iterator[None]:
    global _rounding
    before, own = _rounding, {name: getattr(_C_ops, name) for name in ROUNDED[level]}
    _rounding = dtype
    for name, count in ROUNDED[level].items():
        setattr(_C_ops, name, _rounding_operator(own[name], count))
    try:
        yield
    finally:
        _rounding = before
        for name, operator in own.items():
            setattr(_C_ops, name, operator)


def _rounding_operator(operator: Callable[..., Any], count: int) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if _rounding is None:
            return operator(*arguments, **named)
        result = operator(*map(_round, arguments[:count]), *arguments[count:], **named)
        return (_round(result[0]), *result[1:]) if isinstance(result, list | tuple) else _round(result)

    return call


def _round(value: Any) -> Any:
    """A float32 tensor with the precision of the present type; its gradient is rounded as well."""
    if _rounding is None or not isinstance(value, Tensor) or value.dtype != paddle.float32:
        return value
    return value.astype(_rounding).astype("float32")
