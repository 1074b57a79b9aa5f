"""YOLOv3's head: one 1x1 convolution per level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.regularizer import L2Decay

from ppkd.config import register
from ppkd.models.assigners.yolo_assigner import YOLOAssigner, YOLOTargets
from ppkd.models.heads.one_stage_head import OneStageHead
from ppkd.models.losses.yolo_loss import YOLOv3Loss
from ppkd.structures import Basis, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError

ANCHORS = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
ANCHOR_MASKS = ((6, 7, 8), (3, 4, 5), (0, 1, 2))


@register(shared=("num_classes", "data_format"), inject=("loss",))
class YOLOv3Head(OneStageHead):
    """Per level A * (5 + C) channels: x, y, w, h, objectness and C class logits of each of the A anchors.

    ``anchors`` are widths and heights in pixels of the network's input; ``anchor_masks`` picks those of each level,
    coarsest first, the same number everywhere; the convolutions are numbered in that order too, as in published
    weights. Everything else here is finest first. The assigner of the targets and the loss are part of the head.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        loss: YOLOv3Loss,
        anchors: Sequence[Sequence[float]] = ANCHORS,
        anchor_masks: Sequence[Sequence[int]] = ANCHOR_MASKS,
        num_classes: int = 80,
        iou_aware: Literal[False] = False,
        data_format: Literal["NCHW"] = "NCHW",
    ):
        _check(in_specs, loss, anchors, anchor_masks)
        super().__init__(in_specs=in_specs, num_classes=num_classes, num_anchors=len(anchor_masks[0]))
        masks = list(anchor_masks)[::-1]
        self.level_anchors = [[float(side) for i in mask for side in anchors[i]] for mask in masks]
        sides = [[(float(anchors[i][0]), float(anchors[i][1])) for i in mask] for mask in masks]
        self.basis = Basis(anchors=tuple(map(tuple, sides)))
        self.yolo_output = nn.LayerList(
            [
                nn.Conv2D(
                    spec.channels,
                    self.num_anchors * (5 + num_classes),
                    kernel_size=1,
                    bias_attr=ParamAttr(regularizer=L2Decay(0.0)),
                )
                for spec in reversed(self.in_specs)
            ]
        )
        self.yolo_loss = loss
        self.assigner = YOLOAssigner(
            anchors=anchors,
            anchor_masks=masks,
            strides=[spec.stride for spec in in_specs],
            num_classes=num_classes,
            ignore_thresh=loss.ignore_thresh,
            scale_x_y=loss.scale_x_y,
        )

    def entries(self) -> dict[str, Entry]:
        """What :meth:`numbers` gives."""
        basis, logits = self.basis, self.levels(self.num_classes)
        scaled = replace(basis, weights=(self.yolo_loss.scale_x_y,))
        return {
            "cls_logits": Entry("class", "grid", logits, activation="sigmoid", basis=basis),
            "objectness": Entry("quality", "grid", self.levels(1), activation="sigmoid", basis=basis),
            "box_xywh": Entry("box", "grid", self.levels(4), coding="yolo", basis=scaled),
        }

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Raw maps [N, A * (5 + C), H, W] of the neck's features, level by level."""
        last = len(self.yolo_output) - 1
        return [self.yolo_output[last - i](feature) for i, feature in enumerate(features)]

    def numbers(self, features: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """The raw maps of the neck's ``features``, split by meaning."""
        entries: tuple[list[Tensor], ...] = ([], [], [])
        for raw in self(features):
            level = raw.reshape([0, self.num_anchors, 5 + self.num_classes, *raw.shape[2:]])
            parts = paddle.split(level, [4, 1, self.num_classes], axis=2)
            for i, entry in enumerate(entries):
                entry.append(parts[i])
        boxes, objectness, logits = entries
        return {"cls_logits": logits, "objectness": objectness, "box_xywh": boxes}

    def boxes(self, record: Record) -> list[Tensor]:
        """Corner boxes float32 [N, H * W * A, 4] of all anchors, in pixels of the input, level by level."""
        boxes = []
        for i, raw in enumerate(record["box_xywh"]):
            by_anchor = self.assigner.boxes(i, raw).reshape([0, self.num_anchors, -1, 4])
            boxes.append(by_anchor.transpose([0, 2, 1, 3]).flatten(1, 2))
        return boxes

    def assign(self, record: Record, truth: Truth) -> YOLOTargets:
        """The cells that own a box and the cells to ignore."""
        return self.assigner(record, truth)

    def loss(self, record: Record, targets: YOLOTargets) -> dict[str, Tensor]:
        """Scalars ``loss_xy``, ``loss_wh``, ``loss_obj`` and ``loss_cls``."""
        return self.yolo_loss(record, targets)


def _check(
    in_specs: Sequence[LevelSpec],
    loss: YOLOv3Loss,
    anchors: Sequence[Sequence[float]],
    anchor_masks: Sequence[Sequence[int]],
) -> None:
    strides = [spec.stride for spec in reversed(in_specs)]
    if list(loss.downsample) != strides:
        raise ConfigError(
            f"YOLOv3Loss.downsample is {list(loss.downsample)}, but the neck's levels have strides {strides}: "
            "make them equal."
        )
    sizes = {len(mask) for mask in anchor_masks}
    if len(anchor_masks) != len(strides) or len(sizes) != 1:
        raise ConfigError(
            f"YOLOv3Head.anchor_masks is {[list(mask) for mask in anchor_masks]}: expected lists of "
            f"equal length, one for each of the {len(strides)} levels."
        )
    highest = max(index for mask in anchor_masks for index in mask)
    if highest >= len(anchors):
        raise ConfigError(f"YOLOv3Head.anchor_masks names anchor {highest}, but there are only {len(anchors)} anchors.")
