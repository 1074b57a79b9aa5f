"""Which proposals learn a mask, and which mask (He et al., "Mask R-CNN", arXiv:1703.06870, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppkd.config import register
from ppkd.models.assigners.rasterise import rasterise
from ppkd.models.layers.select import take_rows
from ppkd.structures.truth import Truth


@dataclass(frozen=True)
class MaskTargets:
    """Of F proposals an image ``masks`` float32 [N, F, side, side]; ``counted`` float32 [N, F], 1 where it learns."""

    masks: Tensor
    counted: Tensor


@register(shared=("num_classes",))
class MaskAssigner:
    """Proposals on objects learn the part of the object's mask that is inside of them.

    ``mask_resolution`` is the side of the masks. An object without a mask in the annotations teaches none.
    """

    def __init__(self, *, num_classes: int = 80, mask_resolution: int = 28):
        self.num_classes = num_classes
        self.mask_resolution = mask_resolution

    def positive(self, labels: Tensor) -> Tensor:
        """Which proposals are on objects, bool [N, R], by their ``labels`` as in ``TwoStageTargets``."""
        return (labels >= 0) & (labels < self.num_classes)

    def rows(self, labels: Tensor, count: int | None = None) -> Tensor:
        """Indices int64 [N, F], those of the proposals on objects first; F as many as any image has, or ``count``."""
        positive = self.positive(labels)
        # The one number that the step waits for: without it most of what the head computes would be padding.
        most = max(1, int(positive.sum(axis=1).max())) if count is None else count
        return paddle.argsort((~positive).astype("int32"), axis=1, stable=True)[:, :most]

    def __call__(self, proposals: Tensor, labels: Tensor, matched: Tensor, index: Tensor, truth: Truth) -> MaskTargets:
        """The targets of the proposals at ``index`` int64 [N, F].

        ``proposals`` float32 [N, R, 4] have ``labels`` int64 [N, R] and belong to the boxes ``matched`` int64 [N, R].
        """
        side = self.mask_resolution
        if truth.outlines is None:
            none = paddle.zeros(index.shape)
            return MaskTargets(none.unsqueeze(-1).unsqueeze(-1).expand([-1, -1, side, side]), none)
        boxes, outlines = take_rows(proposals, index).flatten(0, 1), truth.outlines
        own = paddle.take_along_axis(matched, index, axis=1, broadcast=False)
        image = paddle.arange(own.shape[0]).unsqueeze(1) * outlines.shape[1]
        edges = paddle.gather(outlines.flatten(0, 1), (own + image).flatten())
        has_mask = (edges[..., 0] != edges[..., 2]).any(axis=[1, 2]).reshape(index.shape)
        learns = paddle.take_along_axis(self.positive(labels).astype("int32"), index, axis=1, broadcast=False) > 0
        masks = rasterise(edges, boxes, side).reshape([*index.shape, side, side])
        return MaskTargets(masks, (has_mask & learns).astype("float32"))
