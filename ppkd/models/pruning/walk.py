"""A walk through a traced program: what labels its values have, and which axes of parameters they belong to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ppkd.models.pruning.labels import Labels, Ties

Axis = tuple[str, int]
"""A parameter or buffer by name, and one of its axes."""


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a value of a program; 1 where it is known only when it runs."""
    return tuple(max(1, size) for size in value.shape)


class Walk:
    """Labels of the values seen so far.

    Args:
        names: what the detector calls the parameters that the program knows under Paddle's own names.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.ties = Ties()
        self.axes: dict[Axis, Labels] = {}
        self._names = names
        self._labels: dict[int, Labels] = {}

    def labels(self, value: Any) -> Labels | None:
        """The labels of ``value``; ``None`` where nothing of it can be removed."""
        name = self.parameter(value)
        if name is None:
            return self._labels.get(value.id)
        shape = shape_of(value)
        # A single number acts on all channels alike: it is none of a channel's own.
        return self.axis(name, 0, size=shape[0]) if len(shape) == 1 and math.prod(shape) > 1 else None

    def give(self, value: Any, labels: Labels | None) -> None:
        """Set the labels of ``value``."""
        if labels is not None:
            self._labels[value.id] = labels

    def parameter(self, value: Any) -> str | None:
        """The detector's name of ``value``, where it is one of its parameters or buffers."""
        op = value.get_defining_op()
        return self._names.get(op.attrs()["parameter_name"]) if op.name() == "builtin.parameter" else None

    def combined(self, value: Any) -> list[Any]:
        """The values of a list of values; a single one is its own list."""
        op = value.get_defining_op()
        if op is None or op.name() != "builtin.combine":
            return [value]
        return [op.operand_source(index) for index in range(op.num_operands())]

    def axis(self, name: str, axis: int, line: Labels | None = None, *, size: int = 0) -> Labels:
        """The labels along an axis of a parameter: ``line``, or ``size`` new ones, tied to those that it had."""
        known = self.axes.get((name, axis))
        if known is None:
            known = self.axes[name, axis] = self.ties.new(size) if line is None else line
        elif line is not None:
            self.ties.tie(known, line)
        return known
