"""The anchors of a dense head as places of GID."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import paddle
from paddle import Tensor

from ppkd.distill.cells.answering import answering
from ppkd.distill.loss import Needs
from ppkd.distill.losses.gid.places import Places, Reader
from ppkd.distill.side import Side
from ppkd.models.postprocess.dense_decode import count_places, join_levels
from ppkd.structures import DetectorSpec, scores
from ppkd.structures.truth import Truth


@dataclass(frozen=True)
class AnchorReader(Reader):
    """Reads all anchors of some levels; ``boxes`` are the entries of their boxes."""

    needs = Needs(student=("boxes", "assign"), teacher=("boxes",))

    boxes: tuple[str, ...]

    @property
    def consumes(self) -> list[str]:
        """Classes and boxes."""
        return [self.classes, *self.boxes]

    def decoded(self, spec: DetectorSpec) -> Collection[str]:
        """All boxes, unless there are offsets from anchors among them."""
        return () if any(spec.entries[name].coding == "deltas" for name in self.boxes) else self.boxes

    def places(self, side: Side, levels: Sequence[int]) -> Places:
        """All anchors of ``levels``, in this order.

        Boxes are compared by their anchors' offsets where these are recorded, else by their sides in strides.
        """
        decoded, ranked = side.boxes(), scores(side.record)
        return Places(
            scores=join_levels([ranked[i] for i in levels]),
            boxes=paddle.concat([decoded[i] for i in levels], axis=1),
            logits=join_levels([side.record[self.classes][i] for i in levels]),
            numbers=self._numbers(side, decoded, levels),
        )

    def answering(self, student: Side, places: Places, instances: Truth, levels: Sequence[int]) -> Tensor:
        """Which anchors of ``levels`` the student's own assigner would give to the instances."""
        logits = student.record[self.classes]
        strides = student.spec.entries[self.classes].strides
        assigned = replace(student, targets=student.assign(instances))
        positive = answering(logits, strides, assigned, instances).positive
        by_level = positive.split(count_places(logits), axis=1)
        return paddle.concat([by_level[i] for i in levels], axis=1)

    def _numbers(self, side: Side, decoded: Sequence[Tensor], levels: Sequence[int]) -> Tensor:
        entries = side.spec.entries
        for name in self.boxes:
            if entries[name].coding == "deltas":
                return join_levels([side.record[name][i] for i in levels])
        strides = entries[self.classes].strides
        return paddle.concat([decoded[i] / strides[i] for i in levels], axis=1)
