"""Non-maximum suppression outside of a model, in NumPy: what the detectors' own post-processing does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppkd.utils.errors import WeightsError

Array = NDArray[np.float32]
Suppress = Callable[[Array, Array], Array]


def suppression(settings: Mapping[str, Any], source: str) -> Suppress:
    """The function that turns boxes and scores of an image into detections (k, 6) class, score, x1, y1, x2, y2.

    It takes boxes float32 (P, 4), or (P, C, 4) if every class has its own, and scores float32 (C, P). ``settings`` are
    ``{type: name, **settings}`` of a detector's. Raises :class:`WeightsError` naming ``source`` for an unknown one.
    """
    values = {key: value for key, value in settings.items() if key != "type"}
    kind = _KINDS.get(settings.get("type", ""))
    if kind is None:
        known = ", ".join(_KINDS)
        raise WeightsError(f"{source}: its suppression is {settings.get('type')!r}, but only {known} can be computed")
    try:
        return kind(**values)
    except TypeError as error:
        raise WeightsError(f"{source}: its suppression {settings['type']} has other settings: {error}") from error


class MultiClassNMS:
    """Keeps, per class, boxes that overlap no better one by more than ``nms_threshold``: Paddle's ``multiclass_nms3``.

    Classes one after another, the best of each first. Boxes without area overlap nothing, as in ONNX; of those that
    lie in one another Paddle keeps the best alone.
    """

    def __init__(
        self,
        *,
        score_threshold: float,
        nms_top_k: int,
        keep_top_k: int,
        nms_threshold: float,
        normalized: bool,
        nms_eta: float,
        background_label: int,
    ) -> None:
        self.score_threshold = score_threshold
        self.nms_top_k = nms_top_k
        self.keep_top_k = keep_top_k
        self.nms_threshold = nms_threshold
        self.length = 0 if normalized else 1
        self.nms_eta = nms_eta
        self.background_label = background_label

    def __call__(self, boxes: Array, scores: Array) -> Array:
        """The detections of one image."""
        classes = [label for label in range(len(scores)) if label != self.background_label]
        found = [
            self._of_class(label, boxes if boxes.ndim == 2 else boxes[:, label], scores[label]) for label in classes
        ]
        rows = np.concatenate([np.zeros((0, 6), np.float32), *found])
        if 0 <= self.keep_top_k < len(rows):
            best = np.argsort(-rows[:, 1], kind="stable")[: self.keep_top_k]
            rows = rows[best[np.argsort(rows[best, 0], kind="stable")]]
        return rows

    def _of_class(self, label: int, boxes: Array, scores: Array) -> Array:
        candidates = np.flatnonzero(scores > self.score_threshold)
        candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
        if self.nms_top_k >= 0:
            candidates = candidates[: self.nms_top_k]
        kept = candidates[self._survivors(boxes[candidates])]
        return np.column_stack([np.full(len(kept), label, np.float32), scores[kept], boxes[kept]])

    def _survivors(self, boxes: Array) -> list[int]:
        """The rows of ``boxes``, best first, that no better one suppresses."""
        size = boxes[:, 2:] - boxes[:, :2] + self.length
        areas = np.where((size < self.length).any(axis=1), 0, size[:, 0] * size[:, 1])
        threshold = self.nms_threshold
        kept: list[int] = []
        for row, box in enumerate(boxes):
            low, high = np.maximum(box[:2], boxes[kept, :2]), np.minimum(box[2:], boxes[kept, 2:])
            shared = np.where((high < low).any(axis=1), 0, np.prod(high - low + self.length, axis=1))
            union = areas[row] + areas[kept] - shared
            if (shared / np.maximum(union, np.finfo(np.float32).tiny) > threshold).any():
                continue
            kept.append(row)
            if self.nms_eta < 1 and threshold > 0.5:
                threshold *= self.nms_eta
        return kept


class DIoUNMS:
    """Keeps, per class, boxes whose distance-IoU with no better kept one is above ``nms_threshold``, best first.

    Zheng et al., arXiv:1911.08287; ``beta`` is the exponent of the distance.
    """

    def __init__(
        self, *, score_threshold: float, nms_top_k: int, keep_top_k: int, nms_threshold: float, beta: float
    ) -> None:
        self.score_threshold = score_threshold
        self.nms_top_k = nms_top_k
        self.keep_top_k = keep_top_k
        self.nms_threshold = nms_threshold
        self.beta = beta

    def __call__(self, boxes: Array, scores: Array) -> Array:
        """The detections of one image."""
        flat = scores.reshape(-1)
        best = np.argsort(-flat, kind="stable")[: self.nms_top_k]
        best = best[flat[best] > self.score_threshold]
        label, place = np.divmod(best, scores.shape[1])
        box = boxes[place] if boxes.ndim == 2 else boxes[place, label]
        overlap = np.triu(distance_iou(box, self.beta) * (label[:, None] == label), 1)
        kept = _greedy(overlap > self.nms_threshold)
        if self.keep_top_k >= 0:
            kept = kept[: self.keep_top_k]
        box = self.refine(box, flat[best], overlap)
        return np.column_stack([label, flat[best], box]).astype(np.float32)[kept]

    def refine(self, boxes: Array, scores: Array, overlap: Array) -> Array:
        """The candidates' boxes (K, 4) as they are reported."""
        return boxes


class VotingClusterDIoUNMS(DIoUNMS):
    """:class:`DIoUNMS` whose kept boxes are averages of the lesser ones near them (Zheng et al., arXiv:2102.12252)."""

    def __init__(self, *, vote_threshold: float, vote_sigma: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.vote_threshold = vote_threshold
        self.vote_sigma = vote_sigma

    def refine(self, boxes: Array, scores: Array, overlap: Array) -> Array:
        """The average boxes (K, 4)."""
        weights = (overlap > self.vote_threshold) * np.exp(-((1 - overlap) ** 2) / self.vote_sigma) * scores
        own = np.maximum(scores, 1e-12)[:, None]
        return (own * boxes + weights @ boxes) / (own + weights.sum(axis=1, keepdims=True))


def distance_iou(boxes: Array, beta: float) -> Array:
    """IoU - (d^2 / c^2)^``beta`` (P, P) of corner boxes (P, 4): d between centres, c across the box around both."""
    low, high = boxes[:, :2], boxes[:, 2:]
    size = np.maximum(high - low, 0)
    area = size[:, 0] * size[:, 1]
    inner = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    outer = np.maximum(high[:, None], high) - np.minimum(low[:, None], low)
    shared = np.prod(np.maximum(inner, 0), axis=-1)
    centres = (low + high) * 0.5
    distance = ((centres[:, None] - centres) ** 2).sum(axis=-1) / ((outer**2).sum(axis=-1) + 1e-7)
    return shared / (area[:, None] + area - shared + 1e-9) - distance**beta


def _greedy(suppresses: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The candidates that no surviving better one suppresses; ``suppresses`` (K, K) is true for i < j alone."""
    alive = np.ones(len(suppresses), bool)
    for row in range(len(suppresses)):
        if alive[row]:
            alive &= ~suppresses[row]
    return np.flatnonzero(alive)


_KINDS: dict[str, Callable[..., Suppress]] = {
    kind.__name__: kind for kind in (MultiClassNMS, DIoUNMS, VotingClusterDIoUNMS)
}
