"""What every non-maximum suppression is to a post-processor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from paddle import Tensor


class Suppression(ABC):
    """Turns decoded boxes and their scores into detections.

    Boxes that overlap a better one by more than ``nms_threshold`` are left out, and all but the best ``keep_top_k`` of
    an image (-1: none).
    """

    nms_threshold: float
    keep_top_k: int

    @abstractmethod
    def __call__(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Detections float32 [K, 6] class, score, x1, y1, x2, y2, image after image, and their counts int32 [N].

        ``boxes`` are float32 [N, P, 4], or [N, P, C, 4] if every class has its own; ``scores`` float32 [N, C, P].
        """


class PostProcess(Protocol):
    """What decodes raw numbers and passes boxes and scores to ``nms``, which can be exchanged."""

    nms: Suppression
