"""YOLOv3 (Redmon and Farhadi, "YOLOv3: An Incremental Improvement", arXiv:1804.02767)."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.models.assigners.yolo_assigner import YOLOTargets
from ppkd.models.detectors.detector import Detector, check_sides
from ppkd.models.heads.yolo_head import YOLOv3Head
from ppkd.models.postprocess.bbox_post_process import BBoxPostProcess
from ppkd.structures import Abilities, Batch, DetectorSpec, Entry, Record
from ppkd.structures.truth import Truth


@register(inject=("backbone", "neck", "yolo_head", "post_process"))
class YOLOv3(Detector):
    """One anchor-based prediction per cell and anchor on three levels, strides 8, 16 and 32."""

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, yolo_head: YOLOv3Head, post_process: BBoxPostProcess):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.yolo_head = yolo_head
        self.post_process = post_process

    # Paddle's tracing of Python code into a program calls super() of methods without end.
    @paddle.jit.not_to_static
    def spec(self) -> DetectorSpec:
        """The neck's maps and the head's numbers."""
        return DetectorSpec(
            name=type(self).__name__,
            num_classes=self.yolo_head.num_classes,
            entries={"neck": Entry("feature", "grid", self.neck.out_specs), **self.yolo_head.entries()},
            abilities=frozenset(self.abilities()),
        )

    def abilities(self) -> Abilities:
        """Those of every detector, and ``boxes``."""
        return {**super().abilities(), "boxes": self.boxes}

    def part(self, name: str) -> nn.Layer:
        """The sublayer that plays the role ``backbone``, ``neck`` or ``head``."""
        return self.yolo_head if name == "head" else super().part(name)

    def features(self, batch: Batch) -> list[Tensor]:
        """The neck's maps; raises :class:`DataError` unless the coarsest stride divides the image's sides."""
        image = batch["image"]
        check_sides(image, self.neck.out_specs[-1].stride)
        return self.neck(self.backbone(image))

    def extract(self, batch: Batch, like: Record | None = None) -> Record:
        """The neck's maps and the head's raw numbers, split by meaning."""
        neck = self.features(batch)
        return Record(self.spec(), {"neck": neck, **self.yolo_head.numbers(neck)})

    def boxes(self, record: Record) -> list[Tensor]:
        """Corner boxes float32 [N, P, 4] in pixels of the input, by level, in the order rows, columns, anchors."""
        return self.yolo_head.boxes(record)

    def match(self, record: Record, truth: Truth) -> YOLOTargets:
        """The cells that own a box and the cells to ignore."""
        return self.yolo_head.assigner(record, truth)

    def loss(self, record: Record, targets: YOLOTargets) -> dict[str, Tensor]:
        """Scalars ``loss_xy``, ``loss_wh``, ``loss_obj`` and ``loss_cls``."""
        return self.yolo_head.loss(record, targets)

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Decoded and suppressed detections in pixels of the original images."""
        maps = self.yolo_head(self.features(batch))
        # The decoder takes the coarsest level first, as in PaddleDetection.
        return self.post_process(
            maps[::-1], self.yolo_head.level_anchors[::-1], batch["im_shape"], batch["scale_factor"]
        )
