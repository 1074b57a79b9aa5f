"""What the heads have in common whose boxes are distributions and whose targets follow their own predictions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.models.assigners.atss_assigner import ATSSAssigner
from ppkd.models.assigners.cell_targets import RatedTargets, cell_targets
from ppkd.models.assigners.task_aligned_assigner import TaskAlignedAssigner
from ppkd.models.casting import float32, full_precision
from ppkd.models.heads.anchor_generator import cell_points
from ppkd.models.losses.distribution_focal_loss import DistributionFocalLoss
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.losses.varifocal_loss import VarifocalLoss
from ppkd.models.postprocess.dense_decode import by_anchor, join_levels
from ppkd.models.postprocess.suppression import Suppression
from ppkd.structures import Entry, LevelSpec, Record
from ppkd.structures.boxes import decode_distances, encode_distances, paired_overlap
from ppkd.structures.truth import Truth


class TaskAlignedHead(nn.Layer):
    """Per cell C class logits and, for each of the four sides, a distribution over 0..``reg_max`` strides.

    Boxes belong to cells by ``static_assigner`` before the epoch ``static_assigner_epoch`` and by ``assigner``, which
    looks at the predictions, from then on; ``epoch`` is where training is. ``cell_offset`` moves the cells' points by
    so many strides; ``grid_cell_scale`` strides is the side of a cell's anchor, which only the static assigner sees.
    Target distances end ``last_bin_margin`` strides below the last bin. ``terms`` are the names of the losses of
    classes, boxes and distributions. A subclass sets all these.
    """

    terms: ClassVar[tuple[str, str, str]]
    last_bin_margin: ClassVar[float]
    in_specs: tuple[LevelSpec, ...]
    num_classes: int
    reg_max: int
    cell_offset: float
    grid_cell_scale: float
    static_assigner_epoch: int
    epoch: float = 0.0
    static_assigner: ATSSAssigner
    assigner: TaskAlignedAssigner
    loss_class: VarifocalLoss
    loss_box: GIoULoss
    loss_dfl: DistributionFocalLoss
    nms: Suppression

    @abstractmethod
    def numbers(self, features: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """The raw numbers of the neck's ``features``, by entry and level."""

    @property
    @abstractmethod
    def bins(self) -> Tensor:
        """The distances 0..``reg_max`` [reg_max + 1] in strides, from where published weights have them."""

    @property
    def post_process(self) -> TaskAlignedHead:
        """Who decodes and suppresses, with ``nms``: the head itself."""
        return self

    def entries(self) -> dict[str, Entry]:
        """What :meth:`numbers` gives."""
        return {
            "cls_logits": Entry("class", "grid", self._levels(self.num_classes), activation="sigmoid"),
            "box_dist": Entry("box", "grid", self._levels(4 * (self.reg_max + 1)), coding="distribution"),
        }

    def _levels(self, channels: int) -> tuple[LevelSpec, ...]:
        return tuple(LevelSpec(channels, spec.stride) for spec in self.in_specs)

    def points(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The points and strides of the cells of ``levels`` [..., H, W]: float32 [H * W, 3] x, y, stride in pixels."""
        return cell_points(levels, [spec.stride for spec in self.in_specs], self.cell_offset)

    def boxes(self, record: Record) -> list[Tensor]:
        """Corner boxes float32 [N, H * W, 4] of all cells, in pixels of the input, level by level."""
        points = self.points(record.cls_logits)
        return [
            decode_distances(points[i][:, :2], self._distances(by_anchor(level)) * points[i][:, 2:])
            for i, level in enumerate(record.box_dist)
        ]

    @paddle.no_grad()
    def assign(self, record: Record, truth: Truth) -> RatedTargets:
        """Class, box and rating for every cell of ``record``; any image may be without boxes."""
        points = self.points(record.cls_logits)
        cells = paddle.concat(points)
        half = cells[:, 2:] * (self.grid_cell_scale / 2)
        anchors = paddle.concat([cells[:, :2] - half, cells[:, :2] + half], axis=-1)
        boxes = paddle.concat(self.boxes(record), axis=1)
        if self.epoch >= self.static_assigner_epoch:
            scores = F.sigmoid(join_levels(record.cls_logits).astype("float32"))
            aligned = self.assigner(scores, boxes, cells[:, :2], truth)
            return RatedTargets.of(cell_targets(points, anchors, truth, aligned, self.num_classes), aligned.rating)
        matches = self.static_assigner(anchors, [level.shape[0] for level in points], truth, deviation="sample")
        targets = cell_targets(points, anchors, truth, matches, self.num_classes)
        shared, union = paired_overlap(boxes, targets.boxes)
        return RatedTargets.of(targets, targets.positive * shared / union.clip(min=1e-9))

    def loss(self, record: Record, targets: RatedTargets) -> dict[str, Tensor]:
        """The scalars ``terms``, divided by the sum of all ratings, 1 at least."""
        total = over_batch(targets.rating.sum()).clip(min=1)
        strides = targets.points[:, 2:]
        points, wanted = targets.points[:, :2] / strides, targets.boxes / strides
        sides = join_levels(record.box_dist)
        boxes = decode_distances(points, self._distances(sides))
        distances = encode_distances(points, wanted).clip(0, self.reg_max - self.last_bin_margin)
        weight = targets.rating
        values = (
            self.loss_class(join_levels(record.cls_logits), targets.labels, weight) / total,
            self.loss_box(boxes, wanted, weight) / total,
            self.loss_dfl(self._split(sides), distances, weight.unsqueeze(-1) / 4) / total,
        )
        return dict(zip(self.terms, values, strict=True))

    def detect(self, record: Record, scale_factor: Tensor) -> dict[str, Tensor]:
        """Detections in pixels of the original images, as ``predict`` of a detector returns them."""
        record = record.map(float32)
        with full_precision():
            scale = paddle.concat([scale_factor.flip(axis=1)] * 2, axis=1).unsqueeze(1)
            scores = F.sigmoid(join_levels(record.cls_logits)).transpose([0, 2, 1])
            detections, counts = self.nms(paddle.concat(self.boxes(record), axis=1) / scale, scores)
        return {"bbox": detections, "bbox_num": counts}

    def _distances(self, sides: Tensor) -> Tensor:
        """Distances l, t, r, b float32 [..., 4] in strides of logits [..., 4 * (reg_max + 1)], bins fastest."""
        bins = self.bins.reshape([-1, 1]).astype("float32")
        return paddle.matmul(F.softmax(self._split(sides), axis=-1), bins).squeeze(-1)

    def _split(self, sides: Tensor) -> Tensor:
        return sides.astype("float32").reshape([0] * (sides.ndim - 1) + [4, self.reg_max + 1])
