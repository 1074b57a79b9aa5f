"""What ranks the detections of a record: probabilities of classes times every quality that is recorded beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppkd.structures.record import Record

if TYPE_CHECKING:
    from paddle import Tensor

    from ppkd.structures.entry import Activation


def scores(record: Record) -> list[Tensor]:
    """The scores of all classes, in 0..1: float32 [N, A, C, H, W] per level, or [N, R, C] per stage of rows."""
    entry = record.spec.entries[_classes(record)]
    levels = [_activated(level, entry.activation) for level in record[_classes(record)]]
    if entry.activation == "softmax":
        levels = [level[..., :-1] if entry.kind == "rows" else level[:, :, :-1] for level in levels]
    return _rated(record, levels)


def best_scores(record: Record) -> list[Tensor]:
    """The score of every place's best class: float32 [N, A, 1, H, W] per level, or [N, R, 1] per stage of rows."""
    entry = record.spec.entries[_classes(record)]
    axis = 2
    if entry.activation == "softmax":
        return [level.max(axis=axis, keepdim=True) for level in scores(record)]
    best = [level.max(axis=axis, keepdim=True) for level in record[_classes(record)]]
    return _rated(record, [_activated(level, entry.activation) for level in best])


def _classes(record: Record) -> str:
    return record.spec.of("class")[0]


def _rated(record: Record, levels: list[Tensor]) -> list[Tensor]:
    kind = record.spec.entries[_classes(record)].kind
    for name in record.spec.of("quality", kind=kind):
        activation = record.spec.entries[name].activation
        levels = [level * _activated(record[name][i], activation) for i, level in enumerate(levels)]
    return levels


def _activated(level: Tensor, activation: Activation) -> Tensor:
    if activation == "sigmoid":
        return level.sigmoid()
    if activation == "softmax":
        from paddle.nn import functional as F

        return F.softmax(level, axis=2)
    return level
