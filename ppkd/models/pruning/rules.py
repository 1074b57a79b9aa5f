"""What an operation of Paddle does to labels of channels.

An operation without a rule keeps all channels that it reads: its numbers may depend on their order or count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ppkd.models.pruning.labels import FIXED, Labels, along, spread, varies
from ppkd.models.pruning.walk import Walk, shape_of

Rule = Callable[[Walk, Any], Sequence[Labels | None]]
ELEMENTWISE = (
    *("relu", "relu_", "relu6", "leaky_relu", "sigmoid", "silu", "swish", "hardsigmoid", "hardswish", "mish", "tanh"),
    *("gelu", "scale", "scale_", "sqrt", "exp", "clip", "cast", "assign", "dropout"),
)
POINTWISE = ("add", "add_", "subtract", "multiply", "multiply_", "maximum", "minimum")


def unary(walk: Walk, op: Any) -> list[Labels | None]:
    """Every element for itself."""
    return [walk.labels(op.operand_source(0))]


def binary(walk: Walk, op: Any) -> list[Labels | None]:
    """Elements at the same place belong together, unless one operand is the same for all channels of the other."""
    shape = shape_of(op.results()[0])
    sides = [walk.labels(op.operand_source(index)) for index in range(2)]
    shapes = [shape_of(op.operand_source(index)) for index in range(2)]
    wide = [None if side is None else np.broadcast_to(side, shape) for side in sides]
    for own, other, small in zip(wide, wide[::-1], shapes[::-1]):  # noqa: B905 - strict= is not traced by Paddle
        if own is not None and other is None and not _same_for_all(own, small, len(shape)):
            walk.ties.fix(own)
    if wide[0] is not None and wide[1] is not None:
        walk.ties.tie(wide[0], wide[1])
    return [wide[0] if wide[0] is not None else wide[1]]


def _same_for_all(labels: Labels, operand: tuple[int, ...], rank: int) -> bool:
    """Whether an ``operand`` of that shape has size 1 along all axes along which ``labels`` vary."""
    sizes = (1,) * (rank - len(operand)) + operand
    return all(size == 1 or not varies(labels, axis) for axis, size in enumerate(sizes))


def convolution(walk: Walk, op: Any) -> list[Labels | None]:
    """New channels from those of the input; in a depthwise one each channel stays what it is."""
    image, weight, *others = _conv_operands(op)
    shape, groups = shape_of(op.results()[0]), op.attrs()["groups"]
    source = walk.labels(image)
    line = None if source is None else along(source, 1)
    if line is None:
        walk.ties.fix(source)
    for other in others:
        walk.ties.fix(walk.labels(other))
    name = walk.parameter(weight)
    if name is None or (groups > 1 and (line is None or not groups == len(line) == shape[1])):
        walk.ties.fix(line)
        return [None]
    if groups > 1:
        return [spread(walk.axis(name, 0, line), 1, shape)]
    walk.axis(name, 1, _or_fixed(line, shape_of(weight)[1]))
    return [spread(walk.axis(name, 0, size=shape[1]), 1, shape)]


def _or_fixed(line: Labels | None, size: int) -> Labels:
    return np.full(size, FIXED, np.int64) if line is None else line


def _conv_operands(op: Any) -> list[Any]:
    """Image and weight, then what else is read."""
    operands = [op.operand_source(index) for index in range(op.num_operands())]
    if op.name() == "pd_op.deformable_conv":
        image, offset, weight, *mask = operands
        return [image, weight, offset, *mask]
    return operands


def matmul(walk: Walk, op: Any) -> list[Labels | None]:
    """A linear layer is a convolution of the last axis; other products keep their channels."""
    rows, weight = op.operand_source(0), op.operand_source(1)
    name, attrs = walk.parameter(weight), op.attrs()
    source, shape = walk.labels(rows), shape_of(op.results()[0])
    line = None if source is None else along(source, source.ndim - 1)
    if name is None or attrs["transpose_x"] or (source is not None and line is None):
        walk.ties.fix(source)
        walk.ties.fix(walk.labels(weight))
        return [None]
    inner = int(attrs["transpose_y"])
    walk.axis(name, inner, _or_fixed(line, shape_of(weight)[inner]))
    return [spread(walk.axis(name, 1 - inner, size=shape[-1]), len(shape) - 1, shape)]


def batch_norm(walk: Walk, op: Any) -> list[Labels | None]:
    """Four numbers for every channel."""
    source = walk.labels(op.operand_source(0))
    line = None if source is None else along(source, 1)
    for index in range(1, 5):
        name = walk.parameter(op.operand_source(index))
        if name is not None and line is not None:
            walk.axis(name, 0, line)
    if line is None:
        walk.ties.fix(source)
    return [None if line is None else source, *[None] * 5]


def pooled(walk: Walk, op: Any) -> list[Labels | None]:
    """Numbers of each channel for itself: pooling, pooling of regions, enlargement."""
    source = walk.labels(op.operand_source(0))
    line = None if source is None else along(source, 1)
    if line is None:
        walk.ties.fix(source)
        return [None] * op.num_results()
    return [spread(line, 1, shape_of(result)) for result in op.results()]


def mean(walk: Walk, op: Any) -> list[Labels | None]:
    """The mean over axes along which there are no other channels."""
    source, shape = walk.labels(op.operand_source(0)), shape_of(op.results()[0])
    line = None if source is None else along(source, 1)
    if line is None or len(shape) != 4 or shape[1] != len(line):
        walk.ties.fix(source)
        return [None]
    return [spread(line, 1, shape)]


def moved(walk: Walk, op: Any) -> list[Labels | None]:
    """The same elements in another shape, which is computed from the input's."""
    source = walk.labels(op.operand_source(0))
    return [None if source is None else source.reshape(shape_of(op.results()[0])), *[None] * (op.num_results() - 1)]


def reshape(walk: Walk, op: Any) -> list[Labels | None]:
    """Of a vector, such as a bias; the shape of anything else may be written in the code."""
    if len(shape_of(op.operand_source(0))) == 1:
        return moved(walk, op)
    return kept(walk, op)


def transpose(walk: Walk, op: Any) -> list[Labels | None]:
    """Axes in another order."""
    source = walk.labels(op.operand_source(0))
    return [None if source is None else source.transpose(op.attrs()["perm"])]


def pixel_shuffle(walk: Walk, op: Any) -> list[Labels | None]:
    """[N, C r r, H, W] to [N, C, r H, r W]; the r r channels that become one belong together."""
    source = walk.labels(op.operand_source(0))
    line = None if source is None else along(source, 1)
    if line is None:
        walk.ties.fix(source)
        return [None]
    parts = line.reshape(-1, op.attrs()["upscale_factor"] ** 2)
    walk.ties.tie(parts, np.broadcast_to(parts[:, :1], parts.shape))
    return [spread(parts[:, 0], 1, shape_of(op.results()[0]))]


def concat(walk: Walk, op: Any) -> list[Labels | None]:
    """Side by side."""
    values = walk.combined(op.operand_source(0))
    arrays = [walk.labels(value) for value in values]
    if all(array is None for array in arrays):
        return [None]
    full = [np.zeros(shape_of(value), np.int64) if array is None else array for value, array in zip(values, arrays)]  # noqa: B905
    axis = int(op.operand_source(1).get_defining_op().attrs()["value"])
    return [np.concatenate(full, axis=axis)]


def kept(walk: Walk, op: Any) -> list[Labels | None]:
    """Nothing that is read here can be removed."""
    for index in range(op.num_operands()):
        for value in walk.combined(op.operand_source(index)):
            walk.ties.fix(walk.labels(value))
    return [None] * op.num_results()


RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, unary),
    **dict.fromkeys(POINTWISE, binary),
    **dict.fromkeys(("conv2d", "depthwise_conv2d", "deformable_conv"), convolution),
    **dict.fromkeys(("pool2d", "roi_align", "nearest_interp", "bilinear_interp"), pooled),
    **dict.fromkeys(("unsqueeze", "squeeze", "flatten", "flatten_"), moved),
    "batch_norm_": batch_norm,
    "matmul": matmul,
    "mean": mean,
    "reshape": reshape,
    "transpose": transpose,
    "pixel_shuffle": pixel_shuffle,
    "concat": concat,
}
