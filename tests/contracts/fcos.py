"""A detector that lives in tests alone: FCOS with centreness (Tian et al., arXiv:1904.01355), its boxes distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.models.assigners.place_targets import PlaceTargets
from ppkd.models.backbones.mobilenet_v1 import MobileNetV1
from ppkd.models.detectors.one_stage import CompletingDetector
from ppkd.models.heads.cell_grid import CellGrid
from ppkd.models.heads.fcos_feat import FCOSFeat
from ppkd.models.heads.tower_head import TowerHead, output_conv, prior_logit
from ppkd.models.layers.select import take_rows
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy
from ppkd.models.losses.focal_loss import FocalLoss
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.necks.fpn import FPN
from ppkd.models.postprocess.dense_decode import DensePostProcess, by_anchor, join_levels
from ppkd.models.postprocess.multiclass_nms import MultiClassNMS
from ppkd.structures import Entry, LevelSpec, Record, scores
from ppkd.structures.boxes import area, decode_distances, encode_distances
from ppkd.structures.truth import Truth

CHANNELS = 16


@dataclass(frozen=True)
class FCOSTargets(PlaceTargets):
    """Adds ``points`` float32 [P, 3] x, y, stride, ``boxes`` [N, P, 4] in pixels and ``centreness`` [N, P]."""

    points: Tensor
    boxes: Tensor
    centreness: Tensor


class FCOSHead(TowerHead):
    """Per cell C class logits, four distances in strides and one logit of centreness."""

    def __init__(self, *, in_specs: Sequence[LevelSpec], conv_feat: FCOSFeat, num_classes: int):
        super().__init__(in_specs=in_specs, num_classes=num_classes, conv_feat=conv_feat)
        self.cells = CellGrid(tuple(spec.stride for spec in self.in_specs), 0.5, 1.0)
        self.classify = output_conv(conv_feat.feat_out, num_classes, prior_logit(0.1))
        self.regress = output_conv(conv_feat.feat_out, 5)
        self.loss_class, self.loss_box = FocalLoss(), GIoULoss()
        self._post_process = DensePostProcess(
            nms=MultiClassNMS(), nms_pre=1000, decode=decode, activation=paddle.assign
        )

    @property
    def post_process(self) -> DensePostProcess:
        return self._post_process

    def entries(self) -> dict[str, Entry]:
        return {
            "cls_logits": Entry("class", "grid", self.levels(self.num_classes), activation="sigmoid"),
            "box_distances": Entry("box", "grid", self.levels(4), coding="distances"),
            "centreness": Entry("quality", "grid", self.levels(1), activation="sigmoid"),
            **self.tower_entries(),
        }

    def outputs(self, level: int, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        return self.classify(classes), self.regress(boxes)

    def complete(self, cls_features: list[Tensor], box_features: list[Tensor]) -> dict[str, list[Tensor]]:
        classes, boxes = self.end(cls_features, box_features)
        return {
            "cls_logits": [raw.unsqueeze(1) for raw in classes],
            "box_distances": [F.softplus(raw[:, :4]).unsqueeze(1) for raw in boxes],
            "centreness": [raw[:, 4:].unsqueeze(1) for raw in boxes],
        }

    def boxes(self, record: Record) -> list[Tensor]:
        points = self.cells.points(record.box_distances)
        return [decode(by_anchor(level), points[i]) for i, level in enumerate(record.box_distances)]

    @paddle.no_grad()
    def assign(self, record: Record, truth: Truth) -> FCOSTargets:
        """A cell answers for the smallest of the boxes around it whose farthest side suits its level."""
        points = paddle.concat(self.cells.points(record.cls_logits))
        distances = encode_distances(points[:, :2], truth.boxes.unsqueeze(2))
        farthest = distances.max(axis=-1) / points[:, 2]
        strides = self.cells.strides
        low = paddle.where(points[:, 2] > strides[0], 4.0, 0.0)
        high = paddle.where(points[:, 2] < strides[-1], 8.0, float("inf"))
        fits = (distances.min(axis=-1) > 0) & (farthest > low) & (farthest <= high) & truth.real.unsqueeze(-1)
        sizes = paddle.where(fits, area(truth.boxes).unsqueeze(-1), paddle.full([], float("inf")))
        box, positive = sizes.argmin(axis=1), fits.any(axis=1)
        classes = paddle.take_along_axis(truth.labels, box, axis=1)
        boxes = take_rows(truth.boxes, box)
        return FCOSTargets(
            labels=paddle.where(positive, classes, paddle.full_like(classes, self.num_classes)),
            positive=positive.astype("float32"),
            box=box,
            points=points,
            boxes=boxes,
            centreness=centreness(encode_distances(points[:, :2], boxes)),
        )

    def loss(self, record: Record, targets: FCOSTargets) -> dict[str, Tensor]:
        positives = over_batch(targets.positive.sum()).clip(min=1)
        strides = targets.points[:, 2:]
        boxes = decode_distances(targets.points[:, :2] / strides, join_levels(record.box_distances))
        weight = targets.positive * targets.centreness
        error = binary_cross_entropy(join_levels(record.centreness).squeeze(-1), targets.centreness)
        return {
            "loss_cls": self.loss_class(join_levels(record.cls_logits), targets.labels) / positives,
            "loss_bbox": self.loss_box(boxes, targets.boxes / strides, weight) / positives,
            "loss_centreness": (error * targets.positive).sum() / positives,
        }

    def detect(self, record: Record, scale_factor: Tensor) -> dict[str, Tensor]:
        points = self.cells.points(record.cls_logits)
        return self.post_process(scores(record), record.box_distances, points, scale_factor)


class FCOS(CompletingDetector[FCOSHead]):
    """FCOS on the pyramid of a narrow MobileNet."""


def decode(distances: Tensor, points: Tensor) -> Tensor:
    """Corner boxes in pixels of ``distances`` [..., 4] in strides at ``points`` [..., 3] x, y, stride."""
    return decode_distances(points[..., :2], distances * points[..., 2:])


def centreness(distances: Tensor) -> Tensor:
    """How central a point is in its box, [...] in 0..1, from the distances [..., 4] to its sides; 0 outside."""
    left, top, right, bottom = distances.clip(min=0).unbind(axis=-1)
    across = paddle.minimum(left, right) / paddle.maximum(left, right).clip(min=1e-6)
    return (across * paddle.minimum(top, bottom) / paddle.maximum(top, bottom).clip(min=1e-6)).sqrt()


def fcos(num_classes: int = 80) -> FCOS:
    """A small FCOS on strides 8, 16 and 32, randomly drawn."""
    backbone = MobileNetV1(scale=0.25)
    neck = FPN(in_specs=backbone.out_specs, out_channel=CHANNELS, extra_stage=0)
    towers = FCOSFeat(feat_in=CHANNELS, feat_out=CHANNELS, num_convs=2, norm_type=None)
    head = FCOSHead(in_specs=neck.out_specs, conv_feat=towers, num_classes=num_classes)
    return FCOS(backbone=backbone, neck=neck, head=head)
