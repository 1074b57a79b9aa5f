"""How far the numbers of an exported model are from the detector's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BOUND = 1e-3
"""The largest difference that an export may have, relative to the largest number of its output, 1 at least."""
_ROWS = 100


def largest_difference(
    expected: Mapping[str, Array], found: Sequence[Array], logits: Sequence[str] = (), rows: Sequence[str] = ()
) -> float:
    """The largest difference of outputs, relative as for ``BOUND``; infinite for other shapes and numbers not finite.

    Outputs of the names ``logits`` are compared as the probabilities that they stand for: a logit of -10 and one of
    -11 are the same to a detector. ``boxes`` [N, P, 4] or [N, P, C, 4] and ``scores`` [N, C, P], and outputs of the
    names ``rows`` [N, R, ...], are compared row by row, whatever the order: places with equal scores may be chosen in
    another one; ``bbox`` (M, 6) too, where nothing is suppressed.
    """
    if len(expected) != len(found) or any(
        array.shape != other.shape for array, other in zip(expected.values(), found, strict=True)
    ):
        return float("inf")
    named = dict(zip(expected, found, strict=True))
    if list(expected) == ["boxes", "scores"]:
        pairs = zip(*expected.values(), *found, strict=True)
        return max(
            _nearest(_table(boxes, scores), _table(*other), scores.max(axis=0)) for boxes, scores, *other in pairs
        )
    if list(expected) == ["bbox", "bbox_num"]:
        return _nearest(expected["bbox"], found[0], expected["bbox"][:, 1])
    differences = [_relative(expected[name], named[name], name in logits) for name in expected if name not in rows]
    for image in range(len(found[0]) if rows else 0):
        one, two = (np.concatenate([_flat(each[name][image]) for name in rows], axis=1) for each in (expected, named))
        differences.append(_nearest(one, two, -np.arange(len(one))))
    return max(differences)


def _relative(expected: Array, found: Array, logit: bool) -> float:
    if logit:
        expected, found = _probability(expected), _probability(found)
    difference = np.abs(expected.astype(float) - found).max(initial=0.0) / np.abs(expected).max(initial=1.0)
    return float(difference) if np.isfinite(difference) else float("inf")


def _probability(logits: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))


def _flat(rows: Array) -> Array:
    return rows.reshape(len(rows), -1)


def _table(boxes: Array, scores: Array) -> Array:
    """A row for each place: its boxes, relative to the largest number of all, and its scores."""
    flat = boxes.reshape(len(boxes), -1)
    return np.concatenate([flat / max(1.0, np.nanmax(np.abs(flat), initial=0.0)), scores.T], axis=1)


def _nearest(expected: Array, found: Array, worth: Array) -> float:
    """How far the rows of ``expected`` (P, K) that are worth most are from the nearest of ``found`` (P, K)."""
    # YOLOv3's boxes of cells without confidence, zeros in Paddle, may be no numbers in ONNX: 0 times an overflow.
    found = np.nan_to_num(found, nan=np.inf)
    scale = np.abs(expected).max(initial=1.0)
    best = expected[np.argsort(-worth, kind="stable")[:_ROWS]]
    return max((float(np.abs(found - row).max(axis=1).min() / scale) for row in best), default=0.0)
