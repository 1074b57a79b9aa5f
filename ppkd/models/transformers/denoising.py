"""Contrastive denoising (Zhang et al., "DINO", arXiv:2203.03605, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppkd.models.transformers.anchors import logit
from ppkd.models.transformers.queries import Boxes
from ppkd.structures.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh


@dataclass(frozen=True)
class Noise:
    """Random numbers for K queries of an image.

    Attributes:
        relabel: uniform in 0..1, float32 [N, K]; a label changes where it is below half of ``label_noise_ratio``.
        labels: int64 [N, K], the labels that are put in.
        signs: 1 or -1, float32 [N, K, 4], the direction in which each corner's number moves.
        shifts: uniform in 0..1, float32 [N, K, 4], by how much.
    """

    relabel: Tensor
    labels: Tensor
    signs: Tensor
    shifts: Tensor

    @classmethod
    def drawn(cls, images: int, queries: int, num_classes: int) -> Noise:
        """Fresh noise from Paddle's stream."""
        corners = [images, queries, 4]
        return cls(
            paddle.rand([images, queries]),
            paddle.randint(0, num_classes, [images, queries], dtype="int64"),
            paddle.randint(0, 2, corners).astype("float32") * 2 - 1,
            paddle.rand(corners),
        )


@dataclass(frozen=True)
class Denoising:
    """Queries that are to restore boxes which were spoilt, in G groups of M positive and M negative ones.

    Attributes:
        shown: int64 [N, 2 * G * M], the labels that the queries are made of, C for padding.
        references: float32 [N, 2 * G * M, 4], the logits of the spoilt boxes' cx, cy, w, h.
        labels: int64 [N, G, 2 * M], what they are to answer, C for nothing: negative ones and padding.
        boxes: float32 [N, G, 2 * M, 4], the boxes that positive ones are to restore.
    """

    shown: Tensor
    references: Tensor
    labels: Tensor
    boxes: Tensor

    @property
    def group(self) -> int:
        """How many queries see each other."""
        return self.labels.shape[2]

    def hidden(self, queries: int) -> Tensor:
        """For these queries and as many others behind them: minus infinity where a row's does not see a column's.

        Nobody sees denoising queries but those of their own group, who see all others too. float32 [P, P].
        """
        count = self.shown.shape[1]
        groups = paddle.concat([paddle.arange(count) // self.group, paddle.full([queries], -1, "int64")])
        seen = (groups.unsqueeze(1) == groups.unsqueeze(0)) | (groups < 0).unsqueeze(0)
        return paddle.where(seen, paddle.zeros([]), paddle.full([], -float("inf")))


@paddle.no_grad()
def denoising(
    truth: Boxes, *, queries: int, num_classes: int, label_noise_ratio: float, box_noise_scale: float
) -> Denoising:
    """As many groups as fit ``queries`` positive ones, one at least.

    The corners of a positive query's box move by up to half of its side times ``box_noise_scale``, those of a negative
    one by one to two halves; a label is replaced, perhaps by itself, with half the probability ``label_noise_ratio``.
    """
    images, most = truth.labels.shape
    groups = max(1, queries // most)
    noise = Noise.drawn(images, groups * 2 * most, num_classes)
    nothing = paddle.full([], num_classes, "int64")
    labels, real = (part.tile([1, 2 * groups]) for part in (truth.labels, truth.real))
    boxes = paddle.where(truth.real.unsqueeze(-1), truth.boxes, paddle.zeros([])).tile([1, 2 * groups, 1])
    shown = paddle.where(noise.relabel < label_noise_ratio / 2, noise.labels, labels)
    negative = (paddle.arange(groups * 2 * most) // most % 2).astype("float32").unsqueeze(-1)
    moves = (noise.shifts + negative) * noise.signs * boxes[..., 2:].tile([1, 1, 2]) * (0.5 * box_noise_scale)
    spoilt = xyxy_to_cxcywh((cxcywh_to_xyxy(boxes) + moves).clip(0, 1))
    positive = real & (negative.squeeze(-1) == 0)
    split = [groups, 2 * most]
    return Denoising(
        paddle.where(real, shown, nothing),
        logit(spoilt),
        paddle.where(positive, labels, nothing).unflatten(1, split),
        boxes.unflatten(1, split),
    )
