"""What the heads have in common whose boxes are distributions and whose targets follow their own predictions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.models.assigners.atss_assigner import ATSSAssigner
from ppkd.models.assigners.cell_targets import RatedTargets, cell_targets
from ppkd.models.assigners.task_aligned_assigner import TaskAlignedAssigner
from ppkd.models.casting import float32, full_precision
from ppkd.models.heads.cell_grid import CellGrid
from ppkd.models.heads.integral import SideDistributions
from ppkd.models.heads.one_stage_head import CompletingHead
from ppkd.models.losses.task_aligned_losses import TaskAlignedLosses
from ppkd.models.postprocess.dense_decode import join_levels
from ppkd.models.postprocess.suppression import Suppression
from ppkd.structures import Basis, Entry, LevelSpec, Record
from ppkd.structures.boxes import paired_overlap
from ppkd.structures.truth import Truth


class TaskAlignedHead(CompletingHead):
    """Per cell C class logits and, for each of the four sides, a distribution over 0..``reg_max`` strides.

    Boxes belong to cells by ``static_assigner`` before the epoch ``static_assigner_epoch`` and by ``assigner``, which
    takes the predictions into account, from then on; :meth:`set_progress` says where training is. ``cell_offset`` and
    ``grid_cell_scale`` are those of :class:`CellGrid`, whose anchors only the static assigner sees.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        num_classes: int,
        cell_offset: float,
        grid_cell_scale: float,
        static_assigner: ATSSAssigner | None,
        static_assigner_epoch: int,
        assigner: TaskAlignedAssigner | None,
        losses: TaskAlignedLosses,
        nms: Suppression,
    ):
        super().__init__(in_specs=in_specs, num_classes=num_classes)
        self.cells = CellGrid(tuple(spec.stride for spec in self.in_specs), cell_offset, grid_cell_scale)
        self.static_assigner = static_assigner or ATSSAssigner()
        self.static_assigner_epoch = static_assigner_epoch
        self.assigner = assigner or TaskAlignedAssigner()
        self.losses = losses
        self.nms = nms
        self._epoch = 0.0

    @property
    @abstractmethod
    def sides(self) -> SideDistributions:
        """What turns distributions into boxes, under the name that published weights have for its distances."""

    @property
    @abstractmethod
    def inner_channels(self) -> list[int]:
        """How many channels :meth:`begin` returns on each level."""

    @abstractmethod
    def begin(self, level: int, feature: Tensor) -> Tensor:
        """The features [N, C, H, W] that the head can go on from, of the neck's map on the ``level`` of that position.

        Classes and boxes have the same.
        """

    @abstractmethod
    def end(self, level: int, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Raw maps [N, C, H, W] of classes and of sides from such features for each; they may be the same tensor."""

    def numbers(self, features: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """The raw numbers of the neck's ``features``, by entry and level, and the features on the way to them."""
        inside = [self.begin(level, feature) for level, feature in enumerate(features)]
        recorded = [feature.unsqueeze(1) for feature in inside]
        return {**self._numbers(inside, inside), "cls_features": recorded, "box_features": recorded}

    def complete(self, cls_features: list[Tensor], box_features: list[Tensor]) -> dict[str, list[Tensor]]:
        """The raw numbers behind ``cls_features`` and ``box_features`` [N, 1, C, H, W] per level, by entry."""
        classes, boxes = ([feature.squeeze(1) for feature in one] for one in (cls_features, box_features))
        return self._numbers(classes, boxes)

    def _numbers(self, classes: Sequence[Tensor], boxes: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        raw = [self.end(level, feature, boxes[level]) for level, feature in enumerate(classes)]
        return {"cls_logits": [one.unsqueeze(1) for one, _ in raw], "box_dist": [one.unsqueeze(1) for _, one in raw]}

    @property
    def post_process(self) -> TaskAlignedHead:
        """What decodes and suppresses, with ``nms``: the head itself."""
        return self

    def set_progress(self, epoch: float) -> None:
        """Choose the assigner that is in force at ``epoch``; 1.5 is the middle of the second epoch."""
        self._epoch = epoch

    def entries(self) -> dict[str, Entry]:
        """What :meth:`numbers` gives."""
        basis = Basis(offset=self.cells.offset)
        return {
            "cls_logits": Entry("class", "grid", self.levels(self.num_classes), activation="sigmoid"),
            "box_dist": Entry("box", "grid", self.levels(self.sides.channels), coding="distribution", basis=basis),
            **self.feature_entries(self.inner_channels),
        }

    def boxes(self, record: Record) -> list[Tensor]:
        """Corner boxes float32 [N, H * W, 4] of all cells, in pixels of the input, level by level."""
        return self.sides.boxes(record.box_dist, self.cells.points(record.box_dist))

    @paddle.no_grad()
    def assign(self, record: Record, truth: Truth) -> RatedTargets:
        """Class, box and rating for every cell of ``record``; any image may be without boxes."""
        points = self.cells.points(record.cls_logits)
        cells = paddle.concat(points)
        anchors = self.cells.anchors(cells)
        boxes = paddle.concat(self.boxes(record), axis=1)
        if self._epoch >= self.static_assigner_epoch:
            scores = F.sigmoid(join_levels(record.cls_logits).astype("float32"))
            aligned = self.assigner(scores, boxes, cells[:, :2], truth)
            return RatedTargets.of(cell_targets(points, anchors, truth, aligned, self.num_classes), aligned.rating)
        # PaddleDetection's ATSS has the population deviation for GFL and the sample one for these heads.
        matches = self.static_assigner(anchors, [level.shape[0] for level in points], truth, deviation="sample")
        targets = cell_targets(points, anchors, truth, matches, self.num_classes)
        shared, union = paired_overlap(boxes, targets.boxes)
        return RatedTargets.of(targets, targets.positive * shared / union.clip(min=1e-9))

    def loss(self, record: Record, targets: RatedTargets) -> dict[str, Tensor]:
        """Terms of classes, boxes and distributions, divided by the sum of all ratings, 1 at least."""
        return self.losses(self.sides, join_levels(record.cls_logits), join_levels(record.box_dist), targets)

    def detect(self, record: Record, scale_factor: Tensor) -> dict[str, Tensor]:
        """Detections in pixels of the original images, as ``predict`` of a detector returns them."""
        record = record.map(float32)
        with full_precision():
            scale = paddle.concat([scale_factor.flip(axis=1)] * 2, axis=1).unsqueeze(1)
            scores = F.sigmoid(join_levels(record.cls_logits)).transpose([0, 2, 1])
            detections, counts = self.nms(paddle.concat(self.boxes(record), axis=1) / scale, scores)
        return {"bbox": detections, "bbox_num": counts}
