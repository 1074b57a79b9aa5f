"""PP-YOLOE's efficient task-aligned head (Xu et al., arXiv:2203.16250)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Assign, Constant, Normal

from ppkd.config import register
from ppkd.models.assigners.atss_assigner import ATSSAssigner
from ppkd.models.assigners.cell_targets import RatedTargets, cell_targets
from ppkd.models.assigners.ground_truth import pad_truth
from ppkd.models.assigners.task_aligned_assigner import TaskAlignedAssigner
from ppkd.models.casting import float32, full_precision
from ppkd.models.heads.anchor_generator import cell_points
from ppkd.models.heads.dense_head import prior_logit
from ppkd.models.layers.conv_bn_act import Activation, ConvBNAct
from ppkd.models.losses.distribution_focal_loss import DistributionFocalLoss
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.losses.varifocal_loss import VarifocalLoss
from ppkd.models.postprocess.dense_decode import by_anchor, join_levels
from ppkd.models.postprocess.suppression import Suppression
from ppkd.structures import Batch, DistributionRecord, LevelSpec
from ppkd.structures.boxes import decode_distances, encode_distances, paired_overlap
from ppkd.utils.errors import ConfigError

LAST_BIN_MARGIN = 0.01
"""Target distances end so much below the last bin, in strides."""


class ESEAttn(nn.Layer):
    """A level's channels weighted by what one layer makes of their means, and a 1x1 convolution."""

    def __init__(self, channels: int, act: Activation):
        super().__init__()
        self.fc = nn.Conv2D(channels, channels, 1, weight_attr=ParamAttr(initializer=Normal(0.0, 0.001)))
        self.conv = ConvBNAct(channels, channels, 1, act=act)

    def forward(self, feature: Tensor, mean: Tensor) -> Tensor:
        """``feature`` [N, channels, H, W], ``mean`` [N, channels, 1, 1] over its cells."""
        return self.conv(feature * F.sigmoid(self.fc(mean)))


@dataclass(frozen=True)
class LossWeights:
    """Factors of the three terms, PaddleDetection's keys."""

    cls: float = 1.0
    iou: float = 2.5
    dfl: float = 0.5


@register(
    shared=("num_classes",), inject=("static_assigner", "assigner", "nms"), without_effect=("use_varifocal_loss",)
)
class PPYOLOEHead(nn.Layer):
    """Per cell C class logits and, for each of the four sides, a distribution over 0..``reg_max`` strides.

    Boxes belong to cells by ``static_assigner`` before the epoch ``static_assigner_epoch`` and by ``assigner``, which
    looks at the predictions, from then on. ``grid_cell_offset`` moves the cells' points by so many strides;
    ``grid_cell_scale`` strides is the side of a cell's anchor, which only the static assigner sees. ``loss_weight``
    has the factors ``class``, ``iou`` and ``dfl``.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        nms: Suppression,
        static_assigner: ATSSAssigner | None = None,
        assigner: TaskAlignedAssigner | None = None,
        num_classes: int = 80,
        act: Activation = "swish",
        fpn_strides: Sequence[int] = (32, 16, 8),
        grid_cell_scale: float = 5.0,
        grid_cell_offset: float = 0.5,
        reg_max: int = 16,
        static_assigner_epoch: int = 4,
        use_varifocal_loss: bool = True,
        loss_weight: dict[str, float] | None = None,
    ):
        super().__init__()
        found = [spec.stride for spec in in_specs]
        if list(fpn_strides) != found:
            raise ConfigError(
                f"PPYOLOEHead.fpn_strides is {list(fpn_strides)}, but the neck's levels have strides {found}: "
                "make them equal."
            )
        self.in_specs = tuple(in_specs)
        self.num_classes = num_classes
        self.reg_max = reg_max
        self.grid_cell_scale = grid_cell_scale
        self.grid_cell_offset = grid_cell_offset
        self.static_assigner_epoch = static_assigner_epoch
        self.epoch = 0.0
        self.static_assigner = static_assigner or ATSSAssigner()
        self.assigner = assigner or TaskAlignedAssigner()
        self.nms = nms
        weights = _loss_weights(loss_weight)
        self.loss_class = VarifocalLoss(loss_weight=weights.cls)
        self.loss_box = GIoULoss(loss_weight=weights.iou)
        self.loss_dfl = DistributionFocalLoss(loss_weight=weights.dfl)
        widths = [spec.channels for spec in in_specs]
        self.stem_cls = nn.LayerList([ESEAttn(width, act) for width in widths])
        self.stem_reg = nn.LayerList([ESEAttn(width, act) for width in widths])
        self.pred_cls = nn.LayerList([_output(width, num_classes, prior_logit(0.01)) for width in widths])
        self.pred_reg = nn.LayerList([_output(width, 4 * (reg_max + 1), 1.0) for width in widths])
        self.proj_conv = _projection(reg_max)

    @property
    def post_process(self) -> PPYOLOEHead:
        """Who decodes and suppresses, with ``nms``: the head itself."""
        return self

    def entries(self) -> dict[str, tuple[LevelSpec, ...]]:
        """Channels and stride of what :meth:`record` adds to the neck's maps."""
        counts = {"cls_logits": self.num_classes, "box_dist": 4 * (self.reg_max + 1)}
        return {name: tuple(LevelSpec(count, spec.stride) for spec in self.in_specs) for name, count in counts.items()}

    def record(self, features: list[Tensor]) -> DistributionRecord:
        """The raw numbers of ``features``, level by level."""
        classes, sides = [], []
        for i, feature in enumerate(features):
            mean = F.adaptive_avg_pool2d(feature, 1)
            classes.append(self.pred_cls[i](self.stem_cls[i](feature, mean) + feature).unsqueeze(1))
            sides.append(self.pred_reg[i](self.stem_reg[i](feature, mean)).unsqueeze(1))
        return DistributionRecord(neck=features, cls_logits=classes, box_dist=sides)

    def points(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The points and strides of the cells of ``levels`` [..., H, W]: float32 [H * W, 3] x, y, stride in pixels."""
        return cell_points(levels, [spec.stride for spec in self.in_specs], self.grid_cell_offset)

    def boxes(self, record: DistributionRecord) -> list[Tensor]:
        """Corner boxes float32 [N, H * W, 4] of all cells, in pixels of the input, level by level."""
        points = self.points(record.cls_logits)
        return [
            decode_distances(points[i][:, :2], self._distances(by_anchor(level)) * points[i][:, 2:])
            for i, level in enumerate(record.box_dist)
        ]

    @paddle.no_grad()
    def assign(self, record: DistributionRecord, batch: Batch) -> RatedTargets:
        """Class, box and rating for every cell of ``record``; any image may be without boxes."""
        points, truth = self.points(record.cls_logits), pad_truth(batch)
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

    def loss(self, record: DistributionRecord, targets: RatedTargets) -> dict[str, Tensor]:
        """Scalars ``loss_cls``, ``loss_iou`` and ``loss_dfl``, divided by the sum of all ratings, 1 at least."""
        total = over_batch(targets.rating.sum()).clip(min=1)
        strides = targets.points[:, 2:]
        points, wanted = targets.points[:, :2] / strides, targets.boxes / strides
        sides = join_levels(record.box_dist)
        boxes = decode_distances(points, self._distances(sides))
        distances = encode_distances(points, wanted).clip(0, self.reg_max - LAST_BIN_MARGIN)
        weight = targets.rating
        return {
            "loss_cls": self.loss_class(join_levels(record.cls_logits), targets.labels, weight) / total,
            "loss_iou": self.loss_box(boxes, wanted, weight) / total,
            "loss_dfl": self.loss_dfl(self._split(sides), distances, weight.unsqueeze(-1) / 4) / total,
        }

    def detect(self, features: list[Tensor], scale_factor: Tensor) -> dict[str, Tensor]:
        """Detections in pixels of the original images, as ``predict`` of a detector returns them."""
        record = self.record(features).map(float32)
        with full_precision():
            scale = paddle.concat([scale_factor.flip(axis=1)] * 2, axis=1).unsqueeze(1)
            scores = F.sigmoid(join_levels(record.cls_logits)).transpose([0, 2, 1])
            detections, counts = self.nms(paddle.concat(self.boxes(record), axis=1) / scale, scores)
        return {"bbox": detections, "bbox_num": counts}

    def _distances(self, sides: Tensor) -> Tensor:
        """Distances l, t, r, b float32 [..., 4] in strides of logits [..., 4 * (reg_max + 1)], bins fastest."""
        project = self.proj_conv.weight.reshape([-1, 1]).astype("float32")
        return paddle.matmul(F.softmax(self._split(sides), axis=-1), project).squeeze(-1)

    def _split(self, sides: Tensor) -> Tensor:
        return sides.astype("float32").reshape([0] * (sides.ndim - 1) + [4, self.reg_max + 1])


def _output(channels: int, numbers: int, bias: float) -> nn.Conv2D:
    return nn.Conv2D(
        channels,
        numbers,
        3,
        padding=1,
        weight_attr=ParamAttr(initializer=Constant(0.0)),
        bias_attr=ParamAttr(initializer=Constant(bias)),
    )


def _projection(reg_max: int) -> nn.Conv2D:
    """The bins' distances 0..``reg_max`` under the name that published weights have for them; they never train."""
    bins = paddle.linspace(0, reg_max, reg_max + 1).reshape([1, -1, 1, 1])
    attr = ParamAttr(initializer=Assign(bins), trainable=False)
    return nn.Conv2D(reg_max + 1, 1, 1, weight_attr=attr, bias_attr=False)


def _loss_weights(given: dict[str, float] | None) -> LossWeights:
    given = dict(given or {})
    if unknown := sorted(given.keys() - {"class", "iou", "dfl"}):
        raise ConfigError(f"PPYOLOEHead.loss_weight has no {unknown}: it weighs class, iou and dfl")
    if "class" in given:
        given["cls"] = given.pop("class")
    return LossWeights(**given)
