"""A detector of a few hundred numbers that records what YOLOv3 records, with a BatchNorm to betray any drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from ppkd.models.detectors.detector import Detector
from ppkd.structures import Batch, DetectorSpec, LevelSpec, Record, YOLORecord


class ToyDetector(Detector):
    """Levels at the given strides, one anchor per cell."""

    record = YOLORecord

    def __init__(self, channels: int = 4, num_classes: int = 3, strides: tuple[int, ...] = (8, 4)) -> None:
        super().__init__()
        self.num_classes, self.channels, self.strides = num_classes, channels, strides
        self.neck = nn.LayerList([nn.Conv2D(3, channels, stride, stride) for stride in strides])
        self.norm = nn.BatchNorm2D(channels)
        self.head = nn.Conv2D(channels, 5 + num_classes, 1)

    def spec(self) -> DetectorSpec:
        sizes = {"neck": self.channels, "cls_logits": self.num_classes, "objectness": 1, "box_xywh": 4}
        entries = {name: tuple(LevelSpec(n, stride) for stride in self.strides) for name, n in sizes.items()}
        return DetectorSpec("Toy", self.num_classes, "sigmoid", entries)

    def features(self, batch: Batch) -> list[Tensor]:
        return [self.norm(level(batch["image"])) for level in self.neck]

    def extract(self, batch: Batch, like: Record | None = None) -> YOLORecord:
        neck = self.features(batch)
        maps = [self.head(level).unsqueeze(1) for level in neck]
        return YOLORecord(neck, [m[:, :, 5:] for m in maps], [m[:, :, 4:5] for m in maps], [m[:, :, :4] for m in maps])

    def assign(self, record: Record, batch: Batch) -> Any:
        return paddle.to_tensor([float(len(boxes)) for boxes in batch["gt_bbox"]])

    def loss(self, record: Record, targets: Any) -> dict[str, Tensor]:
        per_image = paddle.stack([level.mean(axis=[1, 2, 3, 4]) for level in record.objectness]).mean(axis=0)
        return {"loss_count": ((per_image - targets) ** 2).mean()}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        raise AssertionError("distillation never predicts")


def toy_batch(images: int = 2, labelled: list[bool] | None = None, seed: int = 0) -> Batch:
    """Random images of 16 x 16; image i has i + 1 boxes, an unlabelled one none."""
    rng = np.random.default_rng(seed)
    known = labelled or [True] * images
    counts = [i + 1 if known[i] else 0 for i in range(images)]
    batch: Batch = {
        "image": paddle.to_tensor(rng.standard_normal((images, 3, 16, 16)).astype("float32")),
        "im_id": paddle.arange(images).reshape([images, 1]),
        "gt_bbox": [paddle.to_tensor(rng.uniform(0, 16, (n, 4)).astype("float32")) for n in counts],
        "gt_class": [paddle.zeros([n], dtype="int64") for n in counts],
    }
    if labelled is not None:
        batch["labelled"] = paddle.to_tensor(labelled)
    return batch
