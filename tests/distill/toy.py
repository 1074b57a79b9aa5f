"""A detector of a few hundred numbers that records what YOLOv3 records, with a BatchNorm to betray any drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from ppkd.models.detectors.detector import Detector
from ppkd.structures import Batch, DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth


class ToyDetector(Detector):
    """Levels at the given strides, one anchor per cell."""

    def __init__(self, channels: int = 4, num_classes: int = 3, strides: tuple[int, ...] = (4, 8)) -> None:
        super().__init__()
        self.num_classes, self.channels, self.strides = num_classes, channels, strides
        self.neck = nn.LayerList([nn.Conv2D(3, channels, stride, stride) for stride in strides])
        self.norm = nn.BatchNorm2D(channels)
        self.head = nn.Conv2D(channels, 5 + num_classes, 1)

    def spec(self) -> DetectorSpec:
        def levels(numbers: int) -> tuple[LevelSpec, ...]:
            return tuple(LevelSpec(numbers, stride) for stride in self.strides)

        entries = {
            "neck": Entry("feature", "grid", levels(self.channels)),
            "cls_logits": Entry("class", "grid", levels(self.num_classes), activation="sigmoid"),
            "objectness": Entry("quality", "grid", levels(1), activation="sigmoid"),
            "box_xywh": Entry("box", "grid", levels(4), coding="yolo"),
        }
        return DetectorSpec("Toy", self.num_classes, entries, frozenset(self.abilities()))

    def features(self, batch: Batch) -> list[Tensor]:
        return [self.norm(level(batch["image"])) for level in self.neck]

    def extract(self, batch: Batch, like: Record | None = None) -> Record:
        neck = self.features(batch)
        maps = [self.head(level).unsqueeze(1) for level in neck]
        numbers = {
            "cls_logits": [level[:, :, 5:] for level in maps],
            "objectness": [level[:, :, 4:5] for level in maps],
            "box_xywh": [level[:, :, :4] for level in maps],
        }
        return Record(self.spec(), {"neck": neck, **numbers})

    def match(self, record: Record, truth: Truth) -> Any:
        return truth.real.astype("float32").sum(axis=1)

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
        "gt_bbox": [
            paddle.to_tensor(np.sort(rng.uniform(0, 16, (n, 2, 2)), axis=1).reshape(n, 4), "float32") for n in counts
        ],
        "gt_class": [paddle.zeros([n], dtype="int64") for n in counts],
    }
    if labelled is not None:
        batch["labelled"] = paddle.to_tensor(labelled)
    return batch
