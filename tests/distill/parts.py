"""A batch in parts, as the accumulated batches of one update go through their losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from paddle import Tensor

from ppkd.models.losses.normaliser import NormaliserBook


def in_parts(compute: Callable[..., Tensor], parts: Sequence[tuple[Any, ...]]) -> Tensor:
    """The mean of ``compute(*part)`` over the ``parts`` of one update."""
    book = NormaliserBook(len(parts))
    for part in parts:
        with book.counting():
            compute(*part)
    book.close()
    values = []
    for part in parts:
        with book.given():
            values.append(compute(*part))
    return sum(values[1:], values[0]) / len(parts)
