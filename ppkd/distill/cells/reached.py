"""How many places of each level answer for objects."""

from __future__ import annotations

from typing import Any

from paddle import Tensor

from ppkd.distill.cells.answering import answering
from ppkd.distill.side import Side
from ppkd.models.assigners.place_targets import PlaceTargets
from ppkd.models.assigners.two_stage_targets import TwoStageTargets
from ppkd.models.assigners.yolo_assigner import YOLOTargets
from ppkd.models.postprocess.dense_decode import count_places
from ppkd.structures import Record
from ppkd.structures.truth import Truth


def positives(record: Record, targets: Any, truth: Truth) -> dict[int, Tensor]:
    """For every stride the places that answer for a box of ``truth``, float32 scalars, as the student's ``targets``
    have it.

    Of two stages those of the first count. Where the targets are of no places of a grid, those of queries say, it is
    the cells that ATSS finds, see :func:`ppkd.distill.cells.answering.answering`.

    Args:
        record: the student's, with feature maps.
        targets: what it assigned for ``truth``.
        truth: the boxes.
    """
    if isinstance(targets, TwoStageTargets):
        targets = targets.rpn
    if isinstance(targets, YOLOTargets):
        strides = record.spec.entries["box_xywh"].strides
        return {stride: level.positive.sum() for stride, level in zip(strides, targets.levels, strict=True)}
    of_places = isinstance(targets, PlaceTargets)
    name = (record.spec.of("class", "quality", kind="grid") if of_places else record.spec.of("feature", kind="grid"))[0]
    levels = [level if level.ndim > 4 else level.unsqueeze(1) for level in record[name]]
    strides = record.spec.entries[name].strides
    found = answering(levels, strides, Side(record, targets=targets), truth).positive.astype("float32")
    parts = found.split(count_places(levels), axis=1)
    return {stride: part.sum() for stride, part in zip(strides, parts, strict=True)}
