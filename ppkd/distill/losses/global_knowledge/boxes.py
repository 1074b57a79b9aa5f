"""The boxes that Global Knowledge distils, and their features."""

from __future__ import annotations

import paddle
from paddle import Tensor

from ppkd.models.layers.select import take_rows
from ppkd.structures.truth import Truth


def of_objects(labels: Tensor, num_classes: int) -> Tensor:
    """Which ``labels`` int64 [N, R] are classes, and neither the background nor padding: bool [N, R]."""
    return (labels >= 0) & (labels < num_classes)


def assigned_boxes(proposals: Tensor, labels: Tensor, num_classes: int, most: int) -> Truth:
    """The first ``most`` proposals of each image that are assigned to an object.

    Args:
        proposals: corner boxes float32 [N, R, 4].
        labels: their classes int64 [N, R], see :class:`ppkd.models.assigners.two_stage_targets.TwoStageTargets`.
        num_classes: classes.
        most: of an image.
    """
    others = ~of_objects(labels, num_classes)
    first = paddle.argsort(others.astype("int64"), axis=1, stable=True)[:, :most]
    labels = paddle.take_along_axis(labels, first, axis=1)
    real = of_objects(labels, num_classes)
    return Truth(take_rows(proposals, first), labels, real.astype("float32"))


def at_level(level: Tensor, values: list[Tensor]) -> Tensor:
    """The value of each box at its ``level`` int64 [N, M], of one tensor [N, M] for each level."""
    return paddle.take_along_axis(paddle.stack(values, axis=-1), level.unsqueeze(-1), axis=-1).squeeze(-1)
