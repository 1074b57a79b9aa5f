"""Detectors of one stage whose head does everything behind the neck."""

from __future__ import annotations

from typing import Any

import paddle
from paddle import Tensor, nn

from ppkd.models.detectors.detector import Detector, check_sides
from ppkd.structures import Abilities, Batch, DetectorSpec, Entry, Record
from ppkd.structures.truth import Truth


class DenseDetector(Detector):
    """A backbone, a neck and a ``head`` that records, assigns, scores and detects on all levels of the neck."""

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, head: nn.Layer):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head

    @property
    def post_process(self) -> Any:
        """Decoding and suppression."""
        return self.head.post_process

    # Paddle's tracing of Python code into a program calls super() of methods without end.
    @paddle.jit.not_to_static
    def spec(self) -> DetectorSpec:
        """The neck's maps and the head's numbers."""
        return DetectorSpec(
            name=type(self).__name__,
            num_classes=self.head.num_classes,
            entries={"neck": Entry("feature", "grid", self.neck.out_specs), **self.head.entries()},
            abilities=frozenset(self.abilities()),
        )

    def abilities(self) -> Abilities:
        """Those of every detector, and ``boxes``."""
        return {**super().abilities(), "boxes": self.boxes}

    def features(self, batch: Batch) -> list[Tensor]:
        """The neck's maps; raises :class:`DataError` unless the backbone's stride divides the image's sides."""
        image = batch["image"]
        check_sides(image, self.backbone.out_specs[-1].stride)
        return self.neck(self.backbone(image))

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

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Decoded and suppressed detections in pixels of the original images."""
        return self.head.detect(self.extract(batch), batch["scale_factor"])


class TowerDetector(DenseDetector):
    """A dense detector whose ``head`` ends two towers (:class:`ppkd.models.heads.dense_head.TowerHead`)."""

    def abilities(self) -> Abilities:
        """Those of dense detectors, and ``complete``."""
        return {**super().abilities(), "complete": self.complete}

    def complete(self, record: Record) -> Record:
        """``record`` with all that lies behind its towers' features computed anew from these by this head."""
        return record.replaced(self.head.complete(record["cls_features"], record["box_features"]))
