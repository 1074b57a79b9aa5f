"""Detectors of one stage whose head does everything behind the neck."""

from __future__ import annotations

from typing import Any

from paddle import Tensor, nn

from ppkd.models.detectors.detector import Detector, check_sides
from ppkd.models.heads.dense_head import TowerHead
from ppkd.structures import Batch, DetectorSpec, Record, TowerRecord


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

    def spec(self) -> DetectorSpec:
        """Levels in the order of the neck, finest first."""
        return DetectorSpec(
            name=type(self).__name__,
            num_classes=self.head.num_classes,
            class_activation="sigmoid",
            entries={"neck": self.neck.out_specs, **self.head.entries()},
        )

    def features(self, batch: Batch) -> list[Tensor]:
        """The neck's maps; raises :class:`DataError` unless the backbone's stride divides the image's sides."""
        image = batch["image"]
        check_sides(image, self.backbone.out_specs[-1].stride)
        return self.neck(self.backbone(image))

    def extract(self, batch: Batch, like: Record | None = None) -> Any:
        """The head's raw numbers, split by anchor, above the neck's maps."""
        return self.head.record(self.features(batch))

    def complete(self, record: TowerRecord) -> TowerRecord:
        """``record`` with all that lies behind its towers' features computed from these by this head."""
        head: TowerHead = self.head
        return head.complete(record.neck, record.cls_features, record.box_features)

    def boxes(self, record: Any) -> list[Tensor]:
        """Corner boxes float32 [N, P, 4] in pixels of the input, level by level: rows, columns, anchors."""
        return self.head.boxes(record)

    def assign(self, record: Any, batch: Batch) -> Any:
        """Training targets for every place of the head."""
        return self.head.assign(record, batch)

    def loss(self, record: Any, targets: Any) -> dict[str, Tensor]:
        """The head's terms."""
        return self.head.loss(record, targets)

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Decoded and suppressed detections in pixels of the original images."""
        return self.head.detect(self.features(batch), batch["scale_factor"])
