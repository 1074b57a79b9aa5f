"""Decoding of what the second stage says of each proposal."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.postprocess.decoder import Decoder
from ppkd.structures.boxes import area, decode_deltas


@register(shared=("num_classes",), without_effect=("box_normalized", "code_type"))
class RCNNBox(Decoder):
    """A box of its own for every proposal and class, cut at the image; ``prior_box_var`` divides the raw offsets."""

    def __init__(self, *, num_classes: int = 80, prior_box_var: Sequence[float] = (10.0, 10.0, 5.0, 5.0)):
        self.num_classes = num_classes
        self.prior_box_var = tuple(prior_box_var)

    def __call__(
        self, raw: Sequence[Tensor], places: tuple[Tensor, Tensor], im_shape: Tensor, scale_factor: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Boxes float32 [N, R, C, 4] in pixels of the original images, and scores float32 [N, C, R].

        ``raw`` are logits [N, R, C + 1] and offsets [N, R, 4 * C], ``places`` the proposals [N, R, 4] in pixels of the
        input and which of them are real, bool [N, R]. The original size is rounded to the nearest pixel. What is no
        proposal, and what nothing remains of inside of the image, has score 0.
        """
        (logits, deltas), (proposals, valid) = raw, places
        by_class = deltas.reshape([0, 0, self.num_classes, 4])
        boxes = decode_deltas(by_class, proposals.unsqueeze(2), self.prior_box_var)
        boxes = _cut(boxes, im_shape) / _corners(scale_factor)
        boxes = _cut(boxes, paddle.floor(im_shape / scale_factor + 0.5))
        real = valid.unsqueeze(-1) & (area(boxes) > 0)
        scores = F.softmax(logits, axis=-1)[:, :, : self.num_classes] * real.astype("float32")
        return boxes, scores.transpose([0, 2, 1])


def _corners(sizes: Tensor) -> Tensor:
    """Heights and widths [N, 2] as the limits of the corners of boxes [N, 1, 1, 4]."""
    return paddle.concat([sizes.flip(axis=1)] * 2, axis=1).unsqueeze(1).unsqueeze(1)


def _cut(boxes: Tensor, sizes: Tensor) -> Tensor:
    return paddle.minimum(boxes, _corners(sizes)).clip(min=0)
