"""YOLOv3 (Redmon and Farhadi, "YOLOv3: An Incremental Improvement", arXiv:1804.02767)."""

from __future__ import annotations

from typing import ClassVar

from paddle import Tensor, nn

from ppkd.config import register
from ppkd.models.assigners.yolo_assigner import YOLOTargets
from ppkd.models.detectors.detector import Detector, check_sides
from ppkd.models.heads.yolo_head import YOLOv3Head
from ppkd.models.postprocess.bbox_post_process import BBoxPostProcess
from ppkd.structures import Batch, DetectorSpec, Record, YOLORecord


@register(inject=("backbone", "neck", "yolo_head", "post_process"))
class YOLOv3(Detector):
    """One anchor-based prediction per cell and anchor on three levels, strides 32, 16 and 8."""

    record: ClassVar[type[Record]] = YOLORecord

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, yolo_head: YOLOv3Head, post_process: BBoxPostProcess):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.yolo_head = yolo_head
        self.post_process = post_process

    def spec(self) -> DetectorSpec:
        """Levels in the order of the head, coarsest first."""
        return DetectorSpec(
            name=type(self).__name__,
            num_classes=self.yolo_head.num_classes,
            class_activation="sigmoid",
            entries={"neck": self.neck.out_specs, **self.yolo_head.entries()},
        )

    def part(self, name: str) -> nn.Layer:
        """The sublayer that plays the role ``backbone``, ``neck`` or ``head``."""
        return self.yolo_head if name == "head" else super().part(name)

    def features(self, batch: Batch) -> list[Tensor]:
        """The neck's maps; raises :class:`DataError` unless the coarsest stride divides the image's sides."""
        image = batch["image"]
        check_sides(image, self.neck.out_specs[0].stride)
        return self.neck(self.backbone(image))

    def extract(self, batch: Batch, like: Record | None = None) -> YOLORecord:
        """The head's raw numbers, split by meaning, above the neck's maps."""
        return self.yolo_head.record(self.features(batch))

    def boxes(self, record: YOLORecord) -> list[Tensor]:
        """Corner boxes float32 [N, P, 4] in pixels of the input, by level, in the order rows, columns, anchors."""
        return self.yolo_head.boxes(record)

    def assign(self, record: YOLORecord, batch: Batch) -> YOLOTargets:
        """The cells that own a box and the cells to ignore."""
        return self.yolo_head.assigner(record, batch)

    def loss(self, record: YOLORecord, targets: YOLOTargets) -> dict[str, Tensor]:
        """Scalars ``loss_xy``, ``loss_wh``, ``loss_obj`` and ``loss_cls``."""
        return self.yolo_head.loss(record, targets)

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Decoded and suppressed detections in pixels of the original images."""
        maps = self.yolo_head(self.features(batch))
        return self.post_process(maps, self.yolo_head.level_anchors, batch["im_shape"], batch["scale_factor"])
