"""The prototypes of all classes on all levels, and how alike boxes are to them."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F


class PrototypeBank(nn.Layer):
    """Up to ``count`` prototypes of each class on each level, in both feature spaces.

    They are buffers: part of what is saved for resuming, and of no student. At first there are none.

    Args:
        num_classes: classes.
        count: prototypes of a class on a level.
        channels: of the student's and of the teacher's map, level by level.
    """

    def __init__(self, num_classes: int, count: int, channels: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.num_classes, self.count = num_classes, count
        self.register_buffer("numbers", paddle.zeros([len(channels), num_classes], dtype="int64"))
        for level, sizes in enumerate(channels):
            for side, size in zip(("student", "teacher"), sizes, strict=True):
                self.register_buffer(f"{side}_{level}", paddle.zeros([num_classes, count, size]))

    def fill(self, level: int, label: int, student: Tensor, teacher: Tensor) -> None:
        """Make the rows of ``student`` (k, C) and ``teacher`` (k, C'), 0 < k <= count, the prototypes of a class."""
        for side, rows in (("student", student), ("teacher", teacher)):
            getattr(self, f"{side}_{level}")[label, : rows.shape[0]] = rows
        self.numbers[level, label] = student.shape[0]

    def known(self, level: int) -> Tensor:
        """Which places of a level hold a prototype, bool [classes, count]."""
        return paddle.arange(self.count) < self.numbers[level].unsqueeze(1)

    def cosines(self, level: int, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines [..., classes, count] of features (..., C) and (..., C') with the prototypes of a level."""
        return self._cosines(f"student_{level}", student), self._cosines(f"teacher_{level}", teacher)

    @paddle.no_grad()
    def weights(self, level: int, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """How much student and teacher agree on boxes: 1 - |q - q'|, float32 [N, M], without gradient.

        q is the largest cosine with a prototype of the box's own class. The result is in [-1, 1]; for classes without
        prototypes it is 1.

        Args:
            level: whose prototypes.
            student: its features of the boxes, float32 [N, M, C].
            teacher: likewise, float32 [N, M, C'].
            labels: int64 [N, M]; what is no class may have any label.
        """
        place = labels.clip(0, self.num_classes - 1)
        known = F.embedding(place, self.known(level).astype("float32")) > 0
        index = place.unsqueeze(-1).unsqueeze(-1).expand([*place.shape, 1, self.count])
        best = []
        for cosines in self.cosines(level, student, teacher):
            own = paddle.take_along_axis(cosines, index, axis=2, broadcast=False).squeeze(2)
            best.append(paddle.where(known, own, paddle.full_like(own, -2.0)).max(axis=-1))
        return 1.0 - (best[0] - best[1]).abs()

    def _cosines(self, name: str, features: Tensor) -> Tensor:
        prototypes = F.normalize(getattr(self, name), axis=-1).flatten(0, 1)
        found = paddle.matmul(F.normalize(features, axis=-1), prototypes, transpose_y=True)
        return found.reshape([*features.shape[:-1], self.num_classes, self.count])
