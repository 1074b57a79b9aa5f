"""Records: the raw results of a detector before any decoding, per pyramid level or per proposal.

Record classes nest, so what a detector offers to a loss *is* its record type. An entry is a list with one tensor per
level, or a single tensor whose rows are proposals; all have the images first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from paddle import Tensor

TOWERS = ("cls_features", "box_features")
"""Features inside of a head."""
FEATURES = ("neck", *TOWERS, "roi_features")
"""Entries whose channels mean nothing by themselves: two detectors may have different numbers of them."""


@dataclass(frozen=True)
class Record:
    """Outputs of the neck, float32 [N, C, H, W] per level."""

    neck: list[Tensor]

    @classmethod
    def entries(cls) -> tuple[str, ...]:
        """Names of what this record holds, base entries first."""
        return tuple(field.name for field in fields(cls))

    def tensors(self, entry: str) -> list[Tensor]:
        """The tensors of ``entry``: one per level, or the one of what is recorded per proposal."""
        found = getattr(self, entry)
        return found if isinstance(found, list) else [found]

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The record with ``function`` applied to every tensor."""
        changed = {}
        for name in self.entries():
            tensors = [function(tensor) for tensor in self.tensors(name)]
            changed[name] = tensors if isinstance(getattr(self, name), list) else tensors[0]
        return type(self)(**changed)

    def images(self, index: Tensor) -> Self:
        """The record of the images at ``index``, int64 (M,), in that order."""
        return self.map(lambda level: level.index_select(index, axis=0))

    def levels(self, positions: Sequence[int]) -> Self:
        """The record of the pyramid levels at ``positions``, in that order, for records of equally many levels.

        What is recorded per proposal stays as it is.
        """
        kept = {}
        for name in self.entries():
            found = getattr(self, name)
            kept[name] = [found[i] for i in positions] if isinstance(found, list) and found else found
        return type(self)(**kept)

    def reading(self, entries: Iterable[str]) -> Self:
        """The record for who reads ``entries``: features inside of a head that are not among them are let go.

        Their lists are empty, so that no memory is held and nothing is converted that nobody reads.
        """
        unread = set(self.entries()).intersection(TOWERS).difference(entries)
        return replace(self, **{name: [] for name in unread}) if unread else self


@dataclass(frozen=True)
class DenseRecord(Record):
    """Adds raw class logits, float32 [N, A, C, H, W] per level (A anchors per cell)."""

    cls_logits: list[Tensor]

    def scores(self) -> list[Tensor]:
        """What ranks the detections, float32 [N, A, C, H, W] per level, in 0..1."""
        return self._rated([level.sigmoid() for level in self.cls_logits])

    def best_scores(self) -> list[Tensor]:
        """The score of every anchor's best class, float32 [N, A, 1, H, W] per level."""
        return self._rated([level.max(axis=2, keepdim=True).sigmoid() for level in self.cls_logits])

    def _rated(self, probabilities: list[Tensor]) -> list[Tensor]:
        """The scores of probabilities of classes, [N, A, any, H, W] per level."""
        return probabilities


@dataclass(frozen=True)
class BoxDeltaRecord(DenseRecord):
    """Adds raw offsets dx, dy, dw, dh of the anchors, float32 [N, A, 4, H, W] per level."""

    box_deltas: list[Tensor]


@dataclass(frozen=True)
class DistributionRecord(DenseRecord):
    """Adds logits of the distances to the sides l, t, r, b, float32 [N, 1, 4 * (reg_max + 1), H, W], bins fastest."""

    box_dist: list[Tensor]


@dataclass(frozen=True)
class QualityRecord(DistributionRecord):
    """Adds how well a box is thought to fit, float32 [N, 1, 1, H, W] per level, in 0..1; it multiplies the scores."""

    quality: list[Tensor]

    def _rated(self, probabilities: list[Tensor]) -> list[Tensor]:
        return [level * self.quality[i] for i, level in enumerate(probabilities)]


@dataclass(frozen=True)
class YOLORecord(DenseRecord):
    """Adds YOLOv3's raw objectness [N, A, 1, H, W] and box numbers x, y, w, h [N, A, 4, H, W] per level."""

    objectness: list[Tensor]
    box_xywh: list[Tensor]

    def _rated(self, probabilities: list[Tensor]) -> list[Tensor]:
        return [level * self.objectness[i].sigmoid() for i, level in enumerate(probabilities)]


@dataclass(frozen=True)
class TowerRecord(DenseRecord):
    """Adds what the last convolution of the class tower and of the box tower gets, float32 [N, 1, C, H, W] per level.

    The activation before that convolution is not yet applied. A head can go on from here with features of another's.
    """

    cls_features: list[Tensor]
    box_features: list[Tensor]


@dataclass(frozen=True)
class TowerDeltaRecord(TowerRecord, BoxDeltaRecord):
    """Offsets of anchors, and the towers they come from."""


@dataclass(frozen=True)
class TowerDistributionRecord(TowerRecord, DistributionRecord):
    """Distributions of sides, and the towers they come from."""


@dataclass(frozen=True)
class TowerQualityRecord(TowerRecord, QualityRecord):
    """Distributions of sides with their quality, and the towers they come from."""


@dataclass(frozen=True)
class RoIRecord(Record):
    """Adds what a two-stage detector records: R proposals of every image, and the maps that they come from.

    An image with fewer proposals has padding behind them, whose numbers mean nothing. C is the number of classes;
    class-specific boxes have K = 4 * C numbers, class-agnostic ones 4.

    Attributes:
        proposals: corner boxes float32 [N, R, 4] in pixels of the network's input, without gradient.
        proposal_num: int64 [N], how many of an image's rows are proposals.
        roi_features: what is pooled from the neck at the proposals, float32 [N, R, channels, side, side].
        roi_logits: raw class numbers float32 [N, R, C + 1], the background last.
        roi_deltas: raw box offsets float32 [N, R, K].
        rpn_logits: raw objectness of the anchors, float32 [N, A, 1, H, W] per level.
        rpn_deltas: raw offsets of the anchors, float32 [N, A, 4, H, W] per level.
    """

    proposals: Tensor
    proposal_num: Tensor
    roi_features: Tensor
    roi_logits: Tensor
    roi_deltas: Tensor
    rpn_logits: list[Tensor]
    rpn_deltas: list[Tensor]

    def valid(self) -> Tensor:
        """Which rows are proposals, bool [N, R]."""
        import paddle

        return paddle.arange(self.proposals.shape[1]) < self.proposal_num.unsqueeze(1)
