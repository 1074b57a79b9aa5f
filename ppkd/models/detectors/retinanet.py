"""RetinaNet (Lin et al., "Focal Loss for Dense Object Detection", arXiv:1708.02002)."""

from __future__ import annotations

from typing import ClassVar

from paddle import Tensor, nn

from ppkd.config import register
from ppkd.models.assigners.anchor_targets import AnchorTargets
from ppkd.models.detectors.detector import Detector, check_sides
from ppkd.models.heads.retina_head import RetinaHead
from ppkd.models.postprocess.anchor_decode import AnchorPostProcess
from ppkd.structures import Batch, BoxDeltaRecord, DetectorSpec, Record


@register(inject=("backbone", "neck", "head"))
class RetinaNet(Detector):
    """Several anchors per cell on the levels of a feature pyramid, in the paper nine on strides 8 to 128."""

    record: ClassVar[type[Record]] = BoxDeltaRecord

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer, head: RetinaHead):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head

    @property
    def post_process(self) -> AnchorPostProcess:
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

    def extract(self, batch: Batch, like: Record | None = None) -> BoxDeltaRecord:
        """The head's raw numbers, split by anchor, above the neck's maps."""
        return self.head.record(self.features(batch))

    def assign(self, record: BoxDeltaRecord, batch: Batch) -> AnchorTargets:
        """Class and box offsets for every anchor."""
        return self.head.assign(record, batch)

    def loss(self, record: BoxDeltaRecord, targets: AnchorTargets) -> dict[str, Tensor]:
        """Scalars ``loss_cls`` and ``loss_reg``."""
        return self.head.loss(record, targets)

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Decoded and suppressed detections in pixels of the original images."""
        return self.head.detect(self.features(batch), batch["scale_factor"])
