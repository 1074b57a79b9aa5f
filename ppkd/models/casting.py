"""Where a network computes in low precision, and where everything around it is float32 again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import paddle
from paddle import Tensor

LowDType = Literal["float16", "bfloat16"]
Level = Literal["O1", "O2"]

HALF = (paddle.float16, paddle.bfloat16)
FLOAT32_NORMS = {"group_norm", "layer_norm"}


@contextmanager
def low_precision(dtype: LowDType, level: Level) -> Iterator[None]:
    """Inside, networks compute in ``dtype`` on a GPU; parameters stay float32 and are cast where they are used.

    Level O1 casts convolutions and matrix products, O2 everything but normalisation by groups.
    """
    norms = FLOAT32_NORMS if level == "O2" else None
    with paddle.amp.auto_cast(level=level, dtype=dtype, use_promote=level == "O1", custom_black_list=norms):
        yield


@paddle.jit.not_to_static
@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, everything is float32 that gets float32, whatever holds outside."""
    with paddle.amp.auto_cast(enable=False):
        yield


def float32(tensor: Tensor) -> Tensor:
    """``tensor`` as float32 if it is of lower precision, itself otherwise."""
    return tensor.astype("float32") if tensor.dtype in HALF else tensor
