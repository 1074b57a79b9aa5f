"""From the maps of a region proposal network to proposals (Ren et al., "Faster R-CNN", arXiv:1506.01497)."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor
from paddle.vision.ops import generate_proposals

from ppkd.config import register
from ppkd.models.casting import float32, full_precision


@register
class ProposalGenerator:
    """Suppresses on each level by itself, then keeps an image's ``post_nms_top_n`` best of all levels.

    The ``pre_nms_top_n`` best anchors of a level are decoded and clipped to the image; boxes with a side below
    ``min_size`` pixels, or one pixel, are dropped, then those that overlap a better one by more than ``nms_thresh``;
    ``eta`` below 1 lowers that threshold from box to box. At most ``post_nms_top_n`` of a level remain, with
    ``topk_after_collect`` as many as were decoded.
    """

    def __init__(
        self,
        *,
        pre_nms_top_n: int = 12000,
        post_nms_top_n: int = 2000,
        nms_thresh: float = 0.5,
        min_size: float = 0.1,
        eta: float = 1.0,
        topk_after_collect: bool = False,
    ):
        self.pre_nms_top_n = pre_nms_top_n
        self.post_nms_top_n = post_nms_top_n
        self.nms_thresh = nms_thresh
        self.min_size = min_size
        self.eta = eta
        self.topk_after_collect = topk_after_collect

    def __call__(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor], im_shape: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Corner boxes float32 [N, post_nms_top_n, 4], best first, zeros behind, and their number int64 [N].

        ``logits`` [N, A, 1, H, W], ``deltas`` [N, A, 4, H, W] and ``anchors`` [H * W * A, 4] level by level;
        ``im_shape`` [N, 2] as in the batch.
        """
        with paddle.no_grad(), full_precision():
            maps = [[float32(level) for level in levels] for levels in (logits, deltas)]
            return self._best(maps[0], maps[1], anchors, im_shape)

    def _best(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor], im_shape: Tensor
    ) -> tuple[Tensor, Tensor]:
        boxes, scores, counts = [], [], []
        for i, level_anchors in enumerate(anchors):
            level = generate_proposals(
                logits[i].squeeze(2),
                deltas[i].flatten(1, 2),
                im_shape,
                level_anchors,
                paddle.ones([level_anchors.shape[0], 4]),
                pre_nms_top_n=self.pre_nms_top_n,
                post_nms_top_n=self.pre_nms_top_n if self.topk_after_collect else self.post_nms_top_n,
                nms_thresh=self.nms_thresh,
                min_size=self.min_size,
                eta=self.eta,
                return_rois_num=True,
            )
            boxes.append(level[0])
            scores.append(level[1].flatten())
            counts.append(_declared(level[2]).astype("int64"))
        return _best_of_images(boxes, scores, paddle.stack(counts), self.post_nms_top_n)


def _declared(counts: Tensor) -> Tensor:
    """``counts`` int32 [N] as ``generate_proposals`` gives them; in programs Paddle 3.3 declares them float32."""
    if not paddle.in_dynamic_mode():
        counts.set_type(paddle.arange(1, dtype="int32").expand([paddle.shape(counts)[0]]).type())
    return counts


def _best_of_images(
    boxes: Sequence[Tensor], scores: Sequence[Tensor], counts: Tensor, limit: int
) -> tuple[Tensor, Tensor]:
    """The ``limit`` best boxes of each image, [N, limit, 4] with zeros behind, and their number [N].

    ``boxes`` [M, 4] and ``scores`` [M] level by level, each image after image; ``counts`` int64 [L, N].
    """
    owner = paddle.concat([_owners(level, counts[i]) for i, level in enumerate(scores)])
    order = paddle.argsort(paddle.concat(scores), descending=True)
    order = paddle.gather(order, paddle.argsort(paddle.gather(owner, order), stable=True))
    found = counts.sum(axis=0)
    place = paddle.arange(limit)
    rows = (found.cumsum() - found).unsqueeze(1) + paddle.minimum(place, found.unsqueeze(1) - 1).clip(min=0)
    kept = (place < found.unsqueeze(1)).astype("float32").unsqueeze(-1)
    best = paddle.gather(paddle.concat(boxes), paddle.gather(order, rows.flatten()))
    return best.reshape([-1, limit, 4]) * kept, found.clip(max=limit)


def _owners(scores: Tensor, counts: Tensor) -> Tensor:
    """The image of each of ``scores`` [M], of which the images have so many each, ``counts`` [N]."""
    rows = paddle.arange(scores.shape[0], dtype="int64")
    return paddle.searchsorted(counts.cumsum(), rows, right=True)
