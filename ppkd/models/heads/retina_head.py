"""RetinaNet's head (Lin et al., "Focal Loss for Dense Object Detection", arXiv:1708.02002)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import paddle
from paddle import Tensor

from ppkd.config import register
from ppkd.models.assigners.anchor_targets import AnchorTargets, anchor_targets
from ppkd.models.assigners.max_iou_assigner import MaxIoUAssigner
from ppkd.models.heads.anchor_generator import RetinaAnchorGenerator
from ppkd.models.heads.retina_feat import RetinaFeat
from ppkd.models.heads.tower_head import TowerHead, check_levels, output_conv, prior_logit
from ppkd.models.losses.focal_loss import FocalLoss
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.losses.smooth_l1_loss import SmoothL1Loss
from ppkd.models.postprocess.dense_decode import DensePostProcess, by_anchor, join_levels
from ppkd.models.postprocess.suppression import Suppression
from ppkd.structures import Entry, LevelSpec, Record
from ppkd.structures.boxes import decode_deltas
from ppkd.structures.truth import Truth


@register(
    shared=("num_classes",), inject=("conv_feat", "anchor_generator", "bbox_assigner", "loss_class", "loss_bbox", "nms")
)
class RetinaHead(TowerHead):
    """Per level and anchor C class logits and four box offsets; the background is no class.

    ``prior_prob`` is every class's probability at the start, ``nms_pre`` how many anchors of a level are decoded,
    ``weights`` multiply the box offsets. Assigner, losses and suppression are part of the head.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        conv_feat: RetinaFeat,
        anchor_generator: RetinaAnchorGenerator,
        bbox_assigner: MaxIoUAssigner,
        loss_class: FocalLoss,
        loss_bbox: SmoothL1Loss,
        nms: Suppression,
        num_classes: int = 80,
        prior_prob: float = 0.01,
        nms_pre: int = 1000,
        weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    ):
        check_levels("RetinaHead", in_specs, conv_feat, anchor_generator.strides, "anchor_generator.strides")
        super().__init__(
            in_specs=in_specs,
            num_classes=num_classes,
            conv_feat=conv_feat,
            num_anchors=anchor_generator.num_anchors,
        )
        self.weights = tuple(weights)
        self.anchor_generator = anchor_generator
        self.bbox_assigner = bbox_assigner
        self.loss_class = loss_class
        self.loss_bbox = loss_bbox
        self._post_process = DensePostProcess(nms=nms, nms_pre=nms_pre, decode=partial(decode_deltas, weights=weights))
        outputs = partial(output_conv, conv_feat.feat_out)
        self.retina_cls = outputs(num_classes * self.num_anchors, prior_logit(prior_prob))
        self.retina_reg = outputs(4 * self.num_anchors)

    def entries(self) -> dict[str, Entry]:
        """What :meth:`numbers` gives."""
        basis = self.anchor_generator.basis
        coded = replace(basis, weights=self.weights)
        return {
            "cls_logits": Entry("class", "grid", self.levels(self.num_classes), activation="sigmoid", basis=basis),
            "box_deltas": Entry("box", "grid", self.levels(4), coding="deltas", basis=coded),
            **self.tower_entries(),
        }

    @property
    def post_process(self) -> DensePostProcess:
        """Decodes the best anchors of each level."""
        return self._post_process

    def outputs(self, level: int, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Raw maps [N, A * C, H, W] and [N, A * 4, H, W]; all levels share their convolutions."""
        return self.retina_cls(classes), self.retina_reg(boxes)

    def complete(self, cls_features: list[Tensor], box_features: list[Tensor]) -> dict[str, list[Tensor]]:
        """The raw maps behind the towers' features, split by anchor."""
        classes, boxes = self.end(cls_features, box_features)
        return {
            "cls_logits": [raw.reshape([0, self.num_anchors, self.num_classes, *raw.shape[2:]]) for raw in classes],
            "box_deltas": [raw.reshape([0, self.num_anchors, 4, *raw.shape[2:]]) for raw in boxes],
        }

    def boxes(self, record: Record) -> list[Tensor]:
        """Corner boxes float32 [N, H * W * A, 4] of all anchors, in pixels of the input, level by level."""
        anchors = self.anchor_generator(record.cls_logits)
        return [decode_deltas(by_anchor(level), anchors[i], self.weights) for i, level in enumerate(record.box_deltas)]

    @paddle.no_grad()
    def assign(self, record: Record, truth: Truth) -> AnchorTargets:
        """Class and offsets for every anchor of ``record``; any image may be without boxes."""
        anchors = paddle.concat(self.anchor_generator(record.cls_logits))
        matches = self.bbox_assigner(anchors, truth)
        return anchor_targets(anchors, truth, matches, self.num_classes, self.weights)

    def loss(self, record: Record, targets: AnchorTargets) -> dict[str, Tensor]:
        """Scalars ``loss_cls`` and ``loss_reg``, sums over the batch divided by its number of positive anchors."""
        positives = over_batch(targets.positive.sum()).clip(min=1)
        classes = self.loss_class(join_levels(record.cls_logits), targets.labels)
        boxes = self.loss_bbox(join_levels(record.box_deltas), targets.deltas, targets.positive)
        return {"loss_cls": classes / positives, "loss_reg": boxes / positives}

    def detect(self, record: Record, scale_factor: Tensor) -> dict[str, Tensor]:
        """Detections in pixels of the original images, as ``predict`` of a detector returns them."""
        anchors = self.anchor_generator(record.cls_logits)
        return self.post_process(record.cls_logits, record.box_deltas, anchors, scale_factor)
