"""From masks within boxes to masks of whole images."""

from __future__ import annotations

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.casting import full_precision


@register
class MaskPostProcess:
    """Stretches masks over their boxes, bilinearly, and makes them binary: 1 from ``binary_thresh`` on."""

    def __init__(self, *, binary_thresh: float = 0.5):
        self.binary_thresh = binary_thresh

    def __call__(self, masks: Tensor, boxes: Tensor, origin: Tensor) -> Tensor:
        """Masks uint8 [K, H, W] of ones and zeros for the largest of all images.

        ``masks`` float32 [K, side, side] are probabilities within ``boxes`` float32 [K, 4], corners in pixels of the
        original images, whose heights and widths are ``origin`` [N, 2].
        """
        size = origin.max(axis=0).astype("int64")
        with full_precision():
            down = _weights(size[0], boxes[:, 1], boxes[:, 3], masks.shape[-2])
            right = _weights(size[1], boxes[:, 0], boxes[:, 2], masks.shape[-1])
            pasted = paddle.bmm(paddle.bmm(down, masks.astype("float32")), right.transpose([0, 2, 1]))
        return (pasted >= self.binary_thresh).astype("uint8")


def _weights(length: Tensor, low: Tensor, high: Tensor, side: int) -> Tensor:
    """How much each of ``side`` cells between ``low`` and ``high`` [K] counts at each pixel: [K, length, side].

    As bilinear interpolation has it, with zeros around the cells.
    """
    middles = paddle.arange(0, length, dtype="float32") + 0.5
    places = (middles.unsqueeze(0) - low.unsqueeze(1)) / (high - low).unsqueeze(1) * side - 0.5
    return F.relu(1 - (places.unsqueeze(-1) - paddle.arange(side, dtype="float32")).abs())
