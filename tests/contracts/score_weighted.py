"""A loss that lives in tests alone: the squared difference of necks, weighted by the teacher's best score of a cell."""

from __future__ import annotations

from typing import Unpack

import paddle
from paddle import Tensor, nn

from ppkd.distill import DistillLoss, Needs, Progress, Side, Wiring
from ppkd.structures import DetectorSpec, best_scores
from ppkd.structures.truth import Truth


class ScoreWeighted(DistillLoss):
    """Per level sum of w (A S - T)^2 over the sum of w, a mean over channels; A is a 1x1 convolution."""

    def __init__(self, student: DetectorSpec, teacher: DetectorSpec, **wiring: Unpack[Wiring]) -> None:
        super().__init__(student, teacher, consumes=["neck"], needs=Needs(teacher=("scores",)), kind="grid", **wiring)
        classes = teacher.entries[teacher.require_role("class", "ScoreWeighted", kind="grid")]
        self.position = {stride: i for i, stride in enumerate(classes.strides)}
        levels = [pair for pair in self.pairs["neck"] if pair.stride in self.position]
        own, other = student.entries["neck"].levels, teacher.entries["neck"].levels
        self.levels = levels
        self.adapters = nn.LayerList(
            [nn.Conv2D(own[pair.student].channels, other[pair.teacher].channels, 1) for pair in levels]
        )

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        scores = best_scores(teacher.record)
        values = []
        for pair, adapter in zip(self.levels, self.adapters, strict=True):
            gap = adapter(student.record["neck"][pair.student]) - teacher.record["neck"][pair.teacher]
            weight = scores[self.position[pair.stride]].detach().max(axis=1)
            values.append((weight * (gap * gap).mean(axis=1, keepdim=True)).sum() / (weight.sum() + 1e-9))
        return paddle.add_n(values)
