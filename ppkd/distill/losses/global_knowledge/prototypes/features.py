"""The features of a training set's instances, as one detector computes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import Tensor

from ppkd.distill.losses.global_knowledge.prototypes.instances import Instances
from ppkd.distill.losses.global_knowledge.prototypes.pooling import pool_boxes
from ppkd.structures import Batch


class Features:
    """Features of ``count`` instances, float32 (count, C) per level; ``seen`` bool (count,) are those that came."""

    def __init__(self, count: int) -> None:
        self.seen = np.zeros(count, bool)
        self.levels: list[np.ndarray] = []

    def add(self, rows: Sequence[slice], pooled: Sequence[np.ndarray]) -> None:
        """Take the instances ``rows`` of each image of a batch from ``pooled`` [N, M, C], level by level."""
        if not self.levels:
            self.levels = [np.zeros((len(self.seen), level.shape[2]), np.float32) for level in pooled]
        for image, one in enumerate(rows):
            self.seen[one] = True
            for kept, level in zip(self.levels, pooled, strict=True):
                kept[one] = level[image, : one.stop - one.start]


def instance_boxes(batch: Batch, instances: Instances, rows: Sequence[slice]) -> Tensor:
    """The boxes of a batch's instances in pixels of the network's input, [N, M, 4], zeros behind."""
    scale = batch["scale_factor"].numpy()[:, [1, 0, 1, 0]]
    padded = np.zeros((len(rows), max(one.stop - one.start for one in rows), 4), np.float32)
    for image, one in enumerate(rows):
        padded[image, : one.stop - one.start] = instances.box[one] * scale[image]
    return paddle.to_tensor(padded)


def pooled(batch: Batch, boxes: Tensor, levels: Sequence[Tensor]) -> list[np.ndarray]:
    """Mean features [N, M, C] of corner ``boxes`` [N, M, 4] in pixels of the batch's images, level by level."""
    height, width = batch["image"].shape[-2:]
    maps = [level.astype("float32") for level in levels]
    return [pool_boxes([one], boxes, (one.shape[3] / width, one.shape[2] / height))[0].numpy() for one in maps]
