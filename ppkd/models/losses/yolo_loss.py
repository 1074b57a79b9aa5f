"""YOLOv3's loss (Redmon and Farhadi, arXiv:1804.02767), with sizes by L1 as in PaddleDetection."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.assigners.yolo_assigner import YOLOLevelTargets, YOLOTargets
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy
from ppkd.structures import Record


@register
class YOLOv3Loss(nn.Layer):
    """Box, objectness and class terms, each summed over cells and levels and averaged over the images.

    ``downsample`` are the strides of the levels, coarsest first. ``label_smooth`` moves the class targets by
    min(1 / classes, 1 / 40). With ``scale_x_y`` other than 1 centres may lie beyond their cell, and their loss is L1
    instead of cross-entropy. ``ignore_thresh`` is the assigner's.
    """

    def __init__(
        self,
        *,
        ignore_thresh: float = 0.7,
        label_smooth: bool = False,
        downsample: Sequence[int] = (32, 16, 8),
        scale_x_y: float = 1.0,
    ):
        super().__init__()
        self.ignore_thresh = ignore_thresh
        self.label_smooth = label_smooth
        self.downsample = tuple(downsample)
        self.scale_x_y = scale_x_y

    def forward(self, record: Record, targets: YOLOTargets) -> dict[str, Tensor]:
        """Scalars ``loss_xy``, ``loss_wh``, ``loss_obj`` and ``loss_cls``."""
        entries = (record[name] for name in ("box_xywh", "objectness", "cls_logits"))
        # PaddleDetection adds up the levels from the coarsest on.
        levels = list(zip(*entries, targets.levels, strict=True))[::-1]
        images = levels[0][0].shape[0]
        terms = {
            "loss_xy": [self._centre(at_cells(box, t.cell)[..., :2], t) for box, _, _, t in levels],
            "loss_wh": [self._size(at_cells(box, t.cell)[..., 2:], t) for box, _, _, t in levels],
            "loss_obj": [self._objectness(objectness, t) for _, objectness, _, t in levels],
            "loss_cls": [self._classes(at_cells(logits, t.cell), t) for _, _, logits, t in levels],
        }
        return {name: paddle.add_n(parts) / images for name, parts in terms.items()}

    def _centre(self, xy: Tensor, target: YOLOLevelTargets) -> Tensor:
        if self.scale_x_y == 1:
            error = binary_cross_entropy(xy, target.xy)
        else:
            error = (self.scale_x_y * F.sigmoid(xy) - 0.5 * (self.scale_x_y - 1) - target.xy).abs()
        return (error.sum(axis=-1) * target.weight * target.scale).sum()

    @staticmethod
    def _size(wh: Tensor, target: YOLOLevelTargets) -> Tensor:
        return ((wh - target.wh).abs().sum(axis=-1) * target.weight * target.scale).sum()

    @staticmethod
    def _objectness(logits: Tensor, target: YOLOLevelTargets) -> Tensor:
        error = binary_cross_entropy(logits.flatten(1), target.positive)
        return (error * target.objectness_weight).sum()

    def _classes(self, logits: Tensor, target: YOLOLevelTargets) -> Tensor:
        wanted = target.classes
        if self.label_smooth:
            delta = min(1 / wanted.shape[-1], 1 / 40)
            wanted = wanted * (1 - 2 * delta) + delta
        error = binary_cross_entropy(logits, wanted)
        return (error.sum(axis=-1) * target.weight).sum()


def at_cells(level: Tensor, cell: Tensor) -> Tensor:
    """The numbers of ``level`` [N, A, K, H, W] at ``cell`` int64 [N, M], anchor * H * W + pixel: float32 [N, M, K]."""
    images, _, numbers, height, width = level.shape
    pixels = height * width
    first = (cell // pixels) * (numbers * pixels) + cell % pixels
    index = first.unsqueeze(-1) + paddle.arange(numbers) * pixels
    picked = paddle.take_along_axis(level.flatten(1), index.flatten(1), axis=1)
    return picked.reshape([images, -1, numbers]).astype("float32")
