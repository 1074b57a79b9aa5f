"""A loss that lives in tests alone: the squared difference of what the channels of two necks are on average."""

from __future__ import annotations

from typing import Unpack

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.distill import DistillLoss, Progress, Side, Wiring
from ppkd.structures import DetectorSpec
from ppkd.structures.truth import Truth


class MeanChannels(DistillLoss):
    """Per level the mean of (A s - t)^2, s and t being means of the maps over cells and A a linear layer."""

    def __init__(self, student: DetectorSpec, teacher: DetectorSpec, **wiring: Unpack[Wiring]) -> None:
        super().__init__(student, teacher, consumes=["neck"], kind="grid", **wiring)
        self.adapters = nn.LayerList([nn.Linear(*widths) for widths in self.channels["neck"]])

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        values = []
        for pair, adapter in zip(self.pairs["neck"], self.adapters, strict=True):
            own = student.record["neck"][pair.student].mean(axis=[2, 3])
            other = teacher.record["neck"][pair.teacher].mean(axis=[2, 3])
            values.append(F.mse_loss(adapter(own), other))
        return paddle.add_n(values)
