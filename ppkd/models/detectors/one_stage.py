"""Detectors of one stage, whose head does everything behind the neck."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import paddle
from paddle import Tensor, nn

from ppkd.models.detectors.detector import PyramidDetector
from ppkd.models.heads.one_stage_head import CompletingHead, DenseHead, OneStageHead
from ppkd.models.postprocess.suppression import PostProcess
from ppkd.structures import Abilities, Batch, DetectorSpec, Entry, Record
from ppkd.structures.truth import Truth

AnyHead = TypeVar("AnyHead", bound=OneStageHead)
AnyDenseHead = TypeVar("AnyDenseHead", bound=DenseHead)
AnyCompletingHead = TypeVar("AnyCompletingHead", bound=CompletingHead)


class OneStageDetector(PyramidDetector, Generic[AnyHead]):
    """A backbone, a neck and a ``head``, which published weights call ``head_name``."""

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, head: AnyHead, head_name: str = "head"):
        super().__init__(backbone=backbone, neck=neck)
        self.add_sublayer(head_name, head)
        self._head_name = head_name

    @property
    def head(self) -> AnyHead:
        """What records, assigns and scores on all levels of the neck."""
        return self._sub_layers[self._head_name]

    # Paddle's tracing of Python code into a program calls super() of methods without end.
    @paddle.jit.not_to_static
    def spec(self) -> DetectorSpec:
        """The neck's maps and the head's numbers."""
        return DetectorSpec(
            name=type(self).__name__,
            num_classes=self.head.num_classes,
            entries={"neck": Entry("feature", "grid", self.levels), **self.head.entries()},
            abilities=frozenset(self.abilities()),
        )

    def abilities(self) -> Abilities:
        """Those of every detector, and ``boxes``."""
        return {**super().abilities(), "boxes": self.boxes}

    def extract(self, batch: Batch, like: Record | None = None) -> Record:
        """The neck's maps and the head's raw numbers, split by anchor."""
        neck = self.features(batch)
        return Record(self.spec(), {"neck": neck, **self.head.numbers(neck)})

    def boxes(self, record: Record) -> list[Tensor]:
        """Corner boxes float32 [N, P, 4] in pixels of the input, level by level: rows, columns, anchors."""
        return self.head.boxes(record)

    def match(self, record: Record, truth: Truth) -> Any:
        """Training targets for every place of the head."""
        return self.head.assign(record, truth)

    def loss(self, record: Record, targets: Any) -> dict[str, Tensor]:
        """The head's terms."""
        return self.head.loss(record, targets)

    def set_progress(self, epoch: float, step: int | None = None) -> None:
        """Tell the head where training is; 1.5 is the middle of the second epoch."""
        self.head.set_progress(epoch)


class DenseDetector(OneStageDetector[AnyDenseHead]):
    """A detector whose head decodes and suppresses, too."""

    @property
    def post_process(self) -> PostProcess:
        """Decoding and suppression."""
        return self.head.post_process

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Decoded and suppressed detections in pixels of the original images."""
        return self.head.detect(self.extract(batch), batch["scale_factor"])


class CompletingDetector(DenseDetector[AnyCompletingHead]):
    """A detector whose head can go on from recorded features."""

    def abilities(self) -> Abilities:
        """Those of dense detectors, and ``complete``."""
        return {**super().abilities(), "complete": self.complete}

    def complete(self, record: Record) -> Record:
        """``record`` with all that lies behind its ``cls_features`` and ``box_features`` computed anew by this head."""
        return record.replaced(self.head.complete(record["cls_features"], record["box_features"]))
