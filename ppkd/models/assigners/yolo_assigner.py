"""YOLOv3's targets: each box belongs to the anchor of its size, in the cell of its centre (arXiv:1804.02767)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.structures import Record
from ppkd.structures.boxes import cxcywh_to_xyxy, pairwise_iou, size_iou, xyxy_to_cxcywh
from ppkd.structures.truth import Truth


@dataclass(frozen=True)
class YOLOLevelTargets:
    """Targets of one level with A anchors and H x W cells, for N images of up to M boxes.

    Per box: ``cell`` int64 [N, M], anchor * H * W + row * W + column; ``weight`` float32 [N, M], the box's score, 0
    where the box belongs elsewhere or a later box took its cell; ``xy`` and ``wh`` float32 [N, M, 2], the centre in
    its cell and the logarithm of size / anchor; ``scale`` float32 [N, M], 2 - area; ``classes`` float32 [N, M, C],
    the classes of all boxes in that cell.

    Per cell: ``positive`` float32 [N, A * H * W], 1 where a box is; ``objectness_weight`` float32 [N, A * H * W],
    the box's score there, elsewhere 1, or 0 where the predicted box overlaps some box too well to be called empty.
    """

    cell: Tensor
    weight: Tensor
    xy: Tensor
    wh: Tensor
    scale: Tensor
    classes: Tensor
    positive: Tensor
    objectness_weight: Tensor


@dataclass(frozen=True)
class YOLOTargets:
    """One entry per level, in the order of the record."""

    levels: tuple[YOLOLevelTargets, ...]


class YOLOAssigner(nn.Layer):
    """Assigns boxes to cells and finds the cells to ignore.

    ``anchors`` are widths and heights in pixels, ``anchor_masks`` picks those of each level, ``strides`` are the
    levels' in pixels. A cell without a box is ignored where its predicted box overlaps any box by more than
    ``ignore_thresh``. The tables are buffers outside the state dict.
    """

    def __init__(
        self,
        *,
        anchors: Sequence[Sequence[float]],
        anchor_masks: Sequence[Sequence[int]],
        strides: Sequence[int],
        num_classes: int,
        ignore_thresh: float,
        scale_x_y: float,
    ):
        super().__init__()
        self.strides = tuple(strides)
        self.num_classes = num_classes
        self.ignore_thresh = ignore_thresh
        self.scale_x_y = scale_x_y
        self.register_buffer("anchors", paddle.to_tensor(anchors, dtype="float32"), persistable=False)
        self.register_buffer("masks", paddle.to_tensor(anchor_masks, dtype="int64"), persistable=False)

    @paddle.no_grad()
    def forward(self, record: Record, truth: Truth) -> YOLOTargets:
        """Targets for the levels of ``record`` from the boxes of ``truth``; any image may be without boxes."""
        size = xyxy_to_cxcywh(truth.boxes)[..., 2:]
        best = size_iou(size, self.anchors).argmax(axis=-1)
        wh = paddle.log((size / F.embedding(best, self.anchors)).clip(min=1e-9))
        return YOLOTargets(
            tuple(self._level(level, raw, truth, best, wh) for level, raw in enumerate(record["box_xywh"]))
        )

    def _level(self, level: int, raw: Tensor, truth: Truth, best: Tensor, wh: Tensor) -> YOLOLevelTargets:
        _, anchors, _, height, width = raw.shape
        hit = (best.unsqueeze(-1) == self.masks[level]).astype("int64")
        anchor = (hit * paddle.arange(anchors)).sum(axis=-1)
        x, y, w, h = (xyxy_to_cxcywh(truth.boxes) / self.strides[level]).unbind(axis=-1)
        column, row = x.floor().clip(0, width - 1), y.floor().clip(0, height - 1)
        cell = (anchor * height + row.astype("int64")) * width + column.astype("int64")
        weight = truth.scores * hit.sum(axis=-1).astype("float32")
        weight, classes = resolve(cell, weight, F.one_hot(truth.labels, self.num_classes))
        score = paddle.zeros([cell.shape[0], anchors * height * width]).put_along_axis(cell, weight, 1, reduce="add")
        positive = (score > 0).astype("float32")
        return YOLOLevelTargets(
            cell=cell,
            weight=weight,
            xy=paddle.stack([x - column, y - row], axis=-1),
            wh=wh,
            scale=2.0 - w * h / (width * height),
            classes=classes,
            positive=positive,
            objectness_weight=score + (1 - positive) * self._empty(level, raw, truth),
        )

    def _empty(self, level: int, raw: Tensor, truth: Truth) -> Tensor:
        """Float32 [N, A * H * W]: 1 where the predicted box overlaps no box by more than the threshold."""
        boxes = truth.boxes * truth.real.astype("float32").unsqueeze(-1)
        iou = pairwise_iou(self.boxes(level, raw), boxes)
        return (iou.max(axis=-1) <= self.ignore_thresh).astype("float32")

    def boxes(self, level: int, raw: Tensor) -> Tensor:
        """Corner boxes float32 [N, A * H * W, 4] in pixels of the input of a level's raw numbers [N, A, 4, H, W]."""
        anchors = self.anchors.index_select(self.masks[level], axis=0)
        return cxcywh_to_xyxy(decode(raw.astype("float32"), anchors, self.strides[level], self.scale_x_y))


def resolve(cell: Tensor, weight: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Settle who owns a cell that several boxes claim: the last one, with the classes of all.

    ``cell`` int64 [N, M], ``weight`` float32 [N, M] (0 claims nothing), ``classes`` float32 [N, M, C], one-hot.
    Returns the weights, 0 for the boxes that lost, and the united classes.
    """
    claims = weight > 0
    same = (cell.unsqueeze(-1) == cell.unsqueeze(-2)) & claims.unsqueeze(-1) & claims.unsqueeze(-2)
    shared = same.astype("float32")
    beaten = paddle.triu(shared, diagonal=1).sum(axis=-1) > 0
    return weight * (~beaten).astype("float32"), paddle.matmul(shared, classes).clip(max=1)


def decode(raw: Tensor, anchors: Tensor, stride: int, scale_x_y: float) -> Tensor:
    """Raw box numbers [N, A, 4, H, W] to boxes [N, A * H * W, 4] cx, cy, w, h in pixels of the input.

    ``anchors`` [A, 2] are widths and heights in those pixels.
    """
    height, width = raw.shape[-2:]
    shift = 0.5 * (scale_x_y - 1)
    x = (scale_x_y * F.sigmoid(raw[:, :, 0]) - shift + paddle.arange(width, dtype="float32")) * stride
    y = (scale_x_y * F.sigmoid(raw[:, :, 1]) - shift + paddle.arange(height, dtype="float32").unsqueeze(-1)) * stride
    sizes = anchors.reshape([-1, 2, 1, 1])
    w = raw[:, :, 2].exp() * sizes[:, 0]
    h = raw[:, :, 3].exp() * sizes[:, 1]
    return paddle.stack([x, y, w, h], axis=-1).flatten(1, 3)
