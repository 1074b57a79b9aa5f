"""A detector that lives in tests alone: a few queries read the finest map in three layers, each of which answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.models.backbones.mobilenet_v1 import MobileNetV1
from ppkd.models.detectors.detector import PyramidDetector
from ppkd.models.heads.tower_head import prior_logit
from ppkd.models.layers.select import take_rows
from ppkd.models.losses.focal_loss import FocalLoss
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.necks.fpn import FPN
from ppkd.structures import Abilities, Batch, DetectorSpec, Entry, Record, scores
from ppkd.structures.boxes import cxcywh_to_xyxy
from ppkd.structures.truth import Truth

CHANNELS, QUERIES, STAGES = 16, 12, 3
TAKEN = 1e6


@dataclass(frozen=True)
class QueryTargets:
    """``labels`` int64 [N, R], C for none; ``positive`` float32 [N, R]; corner ``boxes`` [N, R, 4] in pixels."""

    labels: Tensor
    positive: Tensor
    boxes: Tensor


class DecoderLayer(nn.Layer):
    """Queries [N, R, D] attend to the cells [N, P, D] of a map, and answer: C logits and cx, cy, w, h in 0..1."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(CHANNELS, CHANNELS) for _ in range(3))
        self.classify = nn.Linear(CHANNELS, num_classes)
        self.classify.bias.set_value(paddle.full([num_classes], prior_logit(0.1)))
        self.regress = nn.Linear(CHANNELS, 4)

    def forward(self, queries: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        attention = F.softmax(paddle.matmul(self.query(queries), self.key(cells), transpose_y=True) / CHANNELS**0.5)
        queries = queries + paddle.matmul(attention, self.value(cells))
        return queries, self.classify(queries), F.sigmoid(self.regress(queries))


class TinyQueries(PyramidDetector):
    """The same queries, numbered alike in all stages, stand for different boxes in each image."""

    def __init__(self, *, backbone: MobileNetV1, neck: FPN, num_classes: int):
        super().__init__(backbone=backbone, neck=neck)
        self.num_classes = num_classes
        self.embedding = self.create_parameter([QUERIES, CHANNELS], default_initializer=nn.initializer.Normal())
        self.head = nn.LayerList([DecoderLayer(num_classes) for _ in range(STAGES)])
        self.loss_class, self.loss_box = FocalLoss(), GIoULoss()

    def spec(self) -> DetectorSpec:
        return DetectorSpec(
            name=type(self).__name__,
            num_classes=self.num_classes,
            entries={
                "neck": Entry("feature", "grid", self.neck.out_specs),
                "query_logits": Entry.rows("class", self.num_classes, stages=STAGES, activation="sigmoid"),
                "query_boxes": Entry.rows("box", 4, stages=STAGES, coding="cxcywh"),
            },
            abilities=frozenset(self.abilities()),
        )

    def abilities(self) -> Abilities:
        return {**super().abilities(), "boxes": self.boxes}

    def extract(self, batch: Batch, like: Record | None = None) -> Record:
        neck = self.features(batch)
        cells = neck[0].flatten(2).transpose([0, 2, 1])
        queries = self.embedding.unsqueeze(0).expand([cells.shape[0], -1, -1])
        logits, boxes = [], []
        for layer in self.head:
            queries, classes, corners = layer(queries, cells)
            logits.append(classes)
            boxes.append(corners)
        tensors = {"neck": neck, "query_logits": logits, "query_boxes": boxes}
        return Record(self.spec(), tensors, size=paddle.shape(batch["image"])[2:])

    def boxes(self, record: Record) -> list[Tensor]:
        """Corner boxes float32 [N, R, 4] in pixels of the input, stage by stage."""
        size = record.size.flip(axis=0).tile([2]).astype("float32")
        return [cxcywh_to_xyxy(stage.astype("float32")) * size for stage in record["query_boxes"]]

    @paddle.no_grad()
    def match(self, record: Record, truth: Truth) -> QueryTargets:
        """Box after box takes the nearest of the last stage's queries that are left."""
        distance = (self.boxes(record)[-1].unsqueeze(2) - truth.boxes.unsqueeze(1)).abs().sum(axis=-1)
        owner = paddle.full(distance.shape[:2], -1, dtype="int64")
        for box in range(truth.boxes.shape[1]):
            nearest = (distance[:, :, box] + TAKEN * (owner >= 0).astype("float32")).argmin(axis=1, keepdim=True)
            chosen = F.one_hot(nearest.squeeze(1), QUERIES).astype("bool") & truth.real[:, box : box + 1]
            owner = paddle.where(chosen, paddle.full_like(owner, box), owner)
        positive, index = owner >= 0, owner.clip(min=0)
        classes = paddle.take_along_axis(truth.labels, index, axis=1)
        labels = paddle.where(positive, classes, paddle.full_like(classes, self.num_classes))
        return QueryTargets(labels, positive.astype("float32"), take_rows(truth.boxes, index))

    def loss(self, record: Record, targets: Any) -> dict[str, Tensor]:
        """``loss_class`` and ``loss_box``, means over positive queries, summed over the stages."""
        positives = over_batch(targets.positive.sum()).clip(min=1)
        classes = [self.loss_class(stage, targets.labels) for stage in record["query_logits"]]
        boxes = [self.loss_box(stage, targets.boxes, targets.positive) for stage in self.boxes(record)]
        return {"loss_class": paddle.add_n(classes) / positives, "loss_box": paddle.add_n(boxes) / positives}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Every query of the last stage with its best class, in pixels of the original images."""
        record = self.extract(batch)
        best = scores(record)[-1]
        scale = batch["scale_factor"].flip(axis=1).tile([1, 2]).unsqueeze(1)
        rows = [best.argmax(axis=-1, keepdim=True), best.max(axis=-1, keepdim=True), self.boxes(record)[-1] / scale]
        found = paddle.concat([part.astype("float32") for part in rows], axis=-1)
        return {"bbox": found.flatten(0, 1), "bbox_num": paddle.full([found.shape[0]], QUERIES, dtype="int32")}


def queries(num_classes: int = 80) -> TinyQueries:
    """A small query detector on the pyramid of a narrow MobileNet, randomly drawn."""
    backbone = MobileNetV1(scale=0.25)
    neck = FPN(in_specs=backbone.out_specs, out_channel=CHANNELS, extra_stage=0)
    return TinyQueries(backbone=backbone, neck=neck, num_classes=num_classes)
