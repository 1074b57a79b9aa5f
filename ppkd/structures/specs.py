"""What a detector advertises: channels, stride and anchors of every entry it records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ppkd.utils.errors import SpecError

PER_PROPOSAL = 0
"""The stride of what lies on no grid."""


@dataclass(frozen=True)
class LevelSpec:
    """One pyramid level: ``channels`` per anchor, ``stride`` in pixels of the network's input, ``anchors`` per cell.

    What is recorded per proposal instead of per cell has the ``stride`` :data:`PER_PROPOSAL`.
    """

    channels: int
    stride: int
    anchors: int = 1


@dataclass(frozen=True)
class DetectorSpec:
    """The shapes of a detector's record; the keys of ``entries`` are the record's fields."""

    name: str
    num_classes: int
    class_activation: Literal["sigmoid", "softmax"]
    entries: Mapping[str, tuple[LevelSpec, ...]]

    def offers(self, names: Iterable[str], asker: str) -> None:
        """Raise :class:`SpecError` unless every one of ``names`` is recorded; ``asker`` is who consumes them."""
        names = list(names)
        missing = [name for name in names if name not in self.entries]
        if missing:
            raise SpecError(
                f"{asker} consumes {names}, but {self.name} records {sorted(self.entries)}: it lacks {missing}. "
                f"Choose a detector that records them, or a loss that consumes only {sorted(self.entries)}."
            )
