"""The proposals of a second stage as places of GID."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paddle import Tensor

from ppkd.distill.loss import Needs
from ppkd.distill.losses.gid.places import Places, Reader
from ppkd.distill.side import Side
from ppkd.structures import scores
from ppkd.structures.boxes import pairwise_iou
from ppkd.structures.truth import Truth

OVERLAP = 0.5
"""A proposal that overlaps an instance by so much answers for it."""


@dataclass(frozen=True)
class ProposalReader(Reader):
    """Reads the student's proposals, of which both detectors record; ``boxes`` and ``deltas`` are entries."""

    needs = Needs(teacher=("at",))

    boxes: str
    deltas: str

    @property
    def consumes(self) -> list[str]:
        """Proposals, classes and offsets."""
        return [self.boxes, self.classes, self.deltas]

    def places(self, side: Side, levels: Sequence[int]) -> Places:
        """All proposals. Their boxes are not yet refined, so both detectors have the same.

        Boxes are compared by their offsets, in the mean over classes.
        """
        record = side.record
        boxes, logits, deltas = (record[name][-1] for name in (self.boxes, self.classes, self.deltas))
        if record.real is not None:
            boxes = boxes * record.real.unsqueeze(-1).astype("float32")
        return Places(scores(record)[-1], boxes, logits, deltas / (deltas.shape[-1] / 4))

    def answering(self, student: Side, places: Places, instances: Truth, levels: Sequence[int]) -> Tensor:
        """Which proposals overlap an instance well enough."""
        return pairwise_iou(places.boxes, instances.boxes).max(axis=2) >= OVERLAP
