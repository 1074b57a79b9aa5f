"""Losses that are a sum, or a mean, over the levels of feature maps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import paddle
from paddle import Tensor

from ppkd.distill.loss import DistillLoss
from ppkd.distill.side import Progress, Side
from ppkd.structures.truth import Truth


class LevelLoss(DistillLoss):
    """A loss with a value for each compared level, whose weights the wiring decides."""

    by_level = True
    mean: ClassVar[bool] = False
    """Whether it is the mean over the levels, weighted where they weigh differently, instead of their sum."""

    @property
    @abstractmethod
    def level_strides(self) -> Sequence[int]:
        """The stride of each compared level, in the order of :meth:`values`."""

    @abstractmethod
    def values(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> list[Tensor]:
        """The value of each compared level, scalars, of both sides as the wiring gives them."""

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        values = self.values(student, teacher, truth, at)
        weights = self.wiring.weights(self.level_strides)
        if weights is None:
            total = paddle.add_n(values)
            return total / len(values) if self.mean else total
        total = (paddle.stack(values) * weights).sum()
        return total / weights.sum() if self.mean else total
