"""The contract of heads that do everything behind the neck."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from paddle import Tensor, nn

from ppkd.models.postprocess.suppression import PostProcess
from ppkd.structures import Entry, LevelSpec, Record
from ppkd.structures.truth import Truth


class OneStageHead(nn.Layer):
    """From the neck's maps to raw numbers, and from records of these to targets, losses and boxes.

    ``in_specs`` are the neck's levels, finest first; each of their cells has ``num_anchors`` predictions.
    """

    def __init__(self, *, in_specs: Sequence[LevelSpec], num_classes: int, num_anchors: int = 1):
        super().__init__()
        self.in_specs = tuple(in_specs)
        self.num_classes = num_classes
        self.num_anchors = num_anchors

    @abstractmethod
    def entries(self) -> dict[str, Entry]:
        """What :meth:`numbers` gives."""

    @abstractmethod
    def numbers(self, features: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """The raw numbers of the neck's ``features``, by entry and level."""

    @abstractmethod
    def boxes(self, record: Record) -> list[Tensor]:
        """Corner boxes float32 [N, H * W * A, 4] of all places, in pixels of the input, level by level."""

    @abstractmethod
    def assign(self, record: Record, truth: Truth) -> Any:
        """Training targets for every place of ``record``, what :meth:`loss` takes; any image may be without boxes."""

    @abstractmethod
    def loss(self, record: Record, targets: Any) -> dict[str, Tensor]:
        """Named scalar loss terms, without their total."""

    def set_progress(self, epoch: float) -> None:
        """Tell a head whose training changes on the way where it is; 1.5 is the middle of the second epoch."""

    def levels(self, channels: int) -> tuple[LevelSpec, ...]:
        """The levels of an entry with so many ``channels`` for each anchor."""
        return tuple(LevelSpec(channels, spec.stride, self.num_anchors) for spec in self.in_specs)


class DenseHead(OneStageHead):
    """A head that decodes and suppresses, too."""

    @property
    @abstractmethod
    def post_process(self) -> PostProcess:
        """What decodes and suppresses."""

    @abstractmethod
    def detect(self, record: Record, scale_factor: Tensor) -> dict[str, Tensor]:
        """Detections in pixels of the original images, as ``predict`` of a detector returns them."""


class CompletingHead(DenseHead):
    """A head that records features on its way, from which it can go on, its own or another's."""

    @abstractmethod
    def complete(self, cls_features: list[Tensor], box_features: list[Tensor]) -> dict[str, list[Tensor]]:
        """The raw numbers behind ``cls_features`` and ``box_features`` [N, 1, C, H, W] per level, by entry."""

    def feature_entries(self, channels: Sequence[int]) -> dict[str, Entry]:
        """What it can go on from, with so many ``channels`` on each level."""
        levels = tuple(LevelSpec(width, spec.stride) for width, spec in zip(channels, self.in_specs, strict=True))
        return {name: Entry("feature", "grid", levels) for name in ("cls_features", "box_features")}
