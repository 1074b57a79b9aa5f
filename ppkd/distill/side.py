"""What a loss is given: the student's side and the teacher's, and how far training is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from paddle import Tensor

from ppkd.structures import Abilities, DetectorSpec, Points, Record
from ppkd.structures.abilities import chosen
from ppkd.structures.truth import Truth


@dataclass(frozen=True)
class Progress:
    """How far training is: ``epoch`` 1.5 is the middle of the second epoch."""

    epoch: float = 0.0


@dataclass(frozen=True)
class Side:
    """A record, and of the abilities of the detector behind it those that the loss asked for.

    Attributes:
        record: what was recorded.
        abilities: the functions by name, see :mod:`ppkd.structures.abilities`.
        targets: the detector's targets for the ground truth of the batch, where they are known already.
    """

    record: Record
    abilities: Abilities = field(default_factory=dict)
    targets: Any = None

    @property
    def spec(self) -> DetectorSpec:
        """What the record holds."""
        return self.record.spec

    def boxes(self, record: Record | None = None) -> list[Tensor]:
        """Corner boxes float32 [N, P, 4] in pixels of the network's input, level by level or stage by stage."""
        return self._ability("boxes")(self.record if record is None else record)

    def scores(self) -> list[Tensor]:
        """What ranks the detections, in 0..1, level by level or stage by stage."""
        return self._ability("scores")(self.record)

    def assign(self, truth: Truth) -> Any:
        """The detector's targets for other boxes than those of the batch, or where it has none yet."""
        return self._ability("assign")(self.record, truth)

    def complete(self, record: Record) -> Record:
        """``record`` with all that lies behind its towers' features computed anew by this detector's head.

        The features may be another detector's. Gradients reach them, and no weight of a frozen detector.
        """
        return self._ability("complete")(record)

    def pool(self, boxes: Tensor) -> Tensor:
        """Features [N, R, C, side, side] of corner ``boxes`` [N, R, 4]."""
        return self._ability("pool")(self.record, boxes)

    def masks(self, boxes: Tensor, labels: Tensor) -> Tensor:
        """Logits [N, F, side, side] of the masks of corner ``boxes`` [N, F, 4], of the classes ``labels`` [N, F]."""
        return self._ability("masks")(self.record, boxes, labels)

    def points(self) -> Points:
        """Where the record's queries start."""
        return self._ability("points")(self.record)

    def answer(self, points: Points) -> Record:
        """The record with what this detector's decoder says of queries that start at ``points``, another's maybe.

        Gradients reach the memory and the decoder, unless the detector is frozen; none goes to ``points``.
        """
        return self._ability("answer")(self.record, points.detach())

    def given(self, names: Collection[str]) -> Side:
        """The side with no abilities but ``names``; targets only with ``assign``."""
        return Side(self.record, chosen(self.abilities, names), self.targets if "assign" in names else None)

    def _ability(self, name: str) -> Callable[..., Any]:
        if name not in self.abilities:
            raise ValueError(f"a loss that uses {name} of {self.spec.name} must say so in its needs")
        return self.abilities[name]
