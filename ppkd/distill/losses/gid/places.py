"""What GID reads of a record at the places of a head, be they anchors or proposals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from paddle import Tensor

from ppkd.distill.loss import Needs
from ppkd.distill.side import Side
from ppkd.structures import DetectorSpec
from ppkd.structures.truth import Truth


@dataclass(frozen=True)
class Places:
    """For P places in each of N images, their classes and boxes.

    ``scores`` [N, P, C] in 0..1; ``boxes`` [N, P, 4], corners in pixels, zeros for padding; ``logits`` [N, P, any], raw
    class numbers; ``numbers`` [N, P, K], what two detectors' boxes are compared by.
    """

    scores: Tensor
    boxes: Tensor
    logits: Tensor
    numbers: Tensor


@dataclass(frozen=True)
class Reader(ABC):
    """Reads the places of one kind of head; ``classes`` is the entry of their classes."""

    needs: ClassVar[Needs]

    classes: str

    @property
    @abstractmethod
    def consumes(self) -> list[str]:
        """The entries that are read of both records."""

    def decoded(self, spec: DetectorSpec) -> Collection[str]:
        """Those of the entries that are compared as boxes in pixels, whatever their numbers are relative to."""
        return ()

    @abstractmethod
    def places(self, side: Side, levels: Sequence[int]) -> Places:
        """The places of ``levels``, in this order."""

    @abstractmethod
    def answering(self, student: Side, places: Places, instances: Truth, levels: Sequence[int]) -> Tensor:
        """Which of the student's ``places`` on ``levels`` answer for an instance, bool [N, P]."""
