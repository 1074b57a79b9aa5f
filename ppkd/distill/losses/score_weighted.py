"""Squared difference of features where the teacher sees objects."""

from __future__ import annotations

from typing import Unpack

from paddle import Tensor

from ppkd.config import register
from ppkd.distill.level_loss import LevelLoss
from ppkd.distill.loss import Needs, Wiring
from ppkd.distill.maps import squared_error
from ppkd.distill.side import Progress, Side
from ppkd.models.losses.normaliser import over_batch
from ppkd.structures import DetectorSpec, best_scores
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError, SpecError

EPS = 1e-9


@register
class ScoreWeighted(LevelLoss):
    """Per level sum w |A S - T|^2 / (C sum w), over all cells and images: w is the teacher's best score in a cell.

    S and T are the maps of the necks, T of C channels, and A two trained 1x1 convolutions with a ReLU between, which
    ``project`` has as its default ``mlp`` here; with ``always`` it is one. The best score is that of the best class of
    the best anchor, and of detectors that rank by the product with a quality it is that product.

    The method is that of Ultralytics' YOLO (its documentation of 2026), which has no paper. Its factor 6 is the default
    weight; that on the number of images, which its task losses have too, is not here, where all losses are means.

    Args:
        student: what the student records.
        teacher: what the teacher records, with scores cell by cell.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: the teacher records no classes cell by cell, or none at a stride at which the necks pair.
        ConfigError: ``project: needed``.
    """

    default_weight = 6.0

    def __init__(self, student: DetectorSpec, teacher: DetectorSpec, **wiring: Unpack[Wiring]) -> None:
        asker = type(self).__name__
        if wiring.setdefault("project", "mlp") == "needed":
            raise ConfigError(f"{asker} always adapts the student's maps: give project: mlp or always")
        classes = teacher.entries[teacher.require_role("class", asker, kind="grid")]
        super().__init__(student, teacher, consumes=["neck"], needs=Needs(teacher=("scores",)), kind="grid", **wiring)
        position = {stride: i for i, stride in enumerate(classes.strides)}
        self.levels = [(pair, position[pair.stride]) for pair in self.pairs["neck"] if pair.stride in position]
        if not self.levels:
            raise SpecError(
                f"{asker}: the necks of {student.name} and {teacher.name} pair at strides "
                f"{[pair.stride for pair in self.pairs['neck']]}, but the classes of {teacher.name} are at "
                f"{list(classes.strides)}: choose a detector with a stride that all of them have"
            )

    @property
    def level_strides(self) -> list[int]:
        """The strides at which the necks pair and the teacher has scores."""
        return [pair.stride for pair, _ in self.levels]

    def values(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> list[Tensor]:
        """The mean of each level."""
        scores = best_scores(teacher.record)
        values = []
        for pair, position in self.levels:
            own, other = student.record["neck"][pair.student], teacher.record["neck"][pair.teacher]
            weight = scores[position].detach().max(axis=1).squeeze(1)
            total = over_batch(weight.sum()) * other.shape[1] + EPS
            values.append((squared_error(own, other) * weight).sum() / total)
        return values
