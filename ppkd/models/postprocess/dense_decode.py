"""From the raw maps of dense heads to detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.models.casting import float32, full_precision
from ppkd.models.layers.select import best_rows, take_rows
from ppkd.models.postprocess.suppression import Suppression


def by_anchor(level: Tensor) -> Tensor:
    """[N, A, K, H, W] to [N, H * W * A, K], in the order of the anchors."""
    return level.transpose([0, 3, 4, 1, 2]).flatten(1, 3)


def join_levels(levels: Sequence[Tensor]) -> Tensor:
    """All anchors of all ``levels`` [N, A, K, H, W]: [N, P, K]."""
    return paddle.concat([by_anchor(level) for level in levels], axis=1)


def count_places(levels: Sequence[Tensor]) -> list[int]:
    """How many places, anchors of all cells, each of ``levels`` [N, A, K, H, W] has: A * H * W."""
    return [level.shape[1] * level.shape[3] * level.shape[4] for level in levels]


class DensePostProcess:
    """Decodes the ``nms_pre`` places of each level whose best class scores highest, then suppresses.

    ``decode`` turns raw numbers [N, k, K] and their places [N, k, S], anchors for instance, into corner boxes
    [N, k, 4] in pixels of the input; ``activation`` turns raw class numbers into scores and keeps their order. Boxes
    may reach beyond the image.
    """

    def __init__(
        self,
        *,
        nms: Suppression,
        nms_pre: int,
        decode: Callable[[Tensor, Tensor], Tensor],
        activation: Callable[[Tensor], Tensor] = F.sigmoid,
    ):
        self.nms = nms
        self.nms_pre = nms_pre
        self.decode = decode
        self.activation = activation

    def __call__(
        self, classes: Sequence[Tensor], numbers: Sequence[Tensor], places: Sequence[Tensor], scale_factor: Tensor
    ) -> dict[str, Tensor]:
        """``bbox`` float32 [K, 6] class, score, x1, y1, x2, y2 in original pixels, and ``bbox_num`` int32 [N].

        ``classes`` [N, A, C, H, W], ``numbers`` [N, A, K, H, W] and ``places`` [H * W * A, S] level by level;
        ``scale_factor`` [N, 2] as in the batch.
        """
        with full_precision():
            classes, numbers = ([float32(level) for level in levels] for levels in (classes, numbers))
            return self._detect(classes, numbers, places, scale_factor)

    def _detect(
        self, classes: Sequence[Tensor], numbers: Sequence[Tensor], places: Sequence[Tensor], scale_factor: Tensor
    ) -> dict[str, Tensor]:
        boxes, scores = [], []
        for i, level_places in enumerate(places):
            level_classes = by_anchor(classes[i])
            best = best_rows(level_classes.max(axis=-1), self.nms_pre)
            chosen = paddle.gather_nd(level_places, best.unsqueeze(-1))
            boxes.append(self.decode(take_rows(by_anchor(numbers[i]), best), chosen))
            scores.append(self.activation(take_rows(level_classes, best)))
        scale = paddle.concat([scale_factor.flip(axis=1)] * 2, axis=1).unsqueeze(1)
        detections, counts = self.nms(
            paddle.concat(boxes, axis=1) / scale, paddle.concat(scores, axis=1).transpose([0, 2, 1])
        )
        return {"bbox": detections, "bbox_num": counts}
