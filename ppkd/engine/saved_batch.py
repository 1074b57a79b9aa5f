"""A batch in a file, to look at it again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppkd.structures import Batch
from ppkd.utils.atomic import atomic_open
from ppkd.utils.errors import DataError
from ppkd.utils.files import open_regular

COUNTS = ".counts"
OPTIONAL = ("gt_score", "labelled")
EXPECTED = "expected a file that a training run wrote into its folder non_finite"


def save_batch(path: Path, batch: Batch) -> None:
    """Write ``batch`` as ``.npz``; a list of tensors becomes one array of all rows and the rows of each image."""
    arrays: dict[str, Any] = {}
    for key, value in batch.items():
        if isinstance(value, list):
            arrays[key] = paddle.concat(value).numpy()
            arrays[key + COUNTS] = np.array([len(rows) for rows in value], np.int64)
        else:
            arrays[key] = value.numpy()
    with atomic_open(path) as file:
        np.savez(file, **arrays)


def load_batch(path: str | os.PathLike[str]) -> Batch:
    """The batch that :func:`save_batch` wrote; raises :class:`DataError` for any other file."""
    try:
        with open_regular(path) as stream, np.load(stream, allow_pickle=False) as file:
            arrays = dict(file)
        batch: Batch = {
            key: _tensors(array, arrays.get(key + COUNTS)) for key, array in arrays.items() if not key.endswith(COUNTS)
        }
    except Exception as error:  # a damaged archive may raise anything
        raise DataError(f"{path}: cannot be read as a batch ({error}); {EXPECTED}") from error
    if "image" not in batch:
        raise DataError(f"{path}: there is no image in it; {EXPECTED}")
    return batch


def check_alike(batch: Batch, own: Batch, source: str | os.PathLike[str]) -> None:
    """Raise :class:`DataError` unless ``batch``, of the file ``source``, has the entries of a run's ``own`` batch."""
    for key, expected in own.items():
        if key not in OPTIONAL and not (key in batch and _alike(batch[key], expected, len(batch["image"]))):
            wrong = "is unlike that" if key in batch else "is missing, unlike"
            raise DataError(f"{source}: the entry '{key}' {wrong} in the batches of this run; {EXPECTED}")


def _tensors(array: np.ndarray, counts: np.ndarray | None) -> Any:
    together = paddle.to_tensor(array)
    if counts is None:
        return together
    ends = np.cumsum(counts).tolist()
    if (counts < 0).any() or counts.sum() != len(array):
        raise ValueError(f"{len(array)} rows counted as {counts}")
    return [together[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def _alike(found: Any, own: Any, images: int) -> bool:
    """Whether an entry is that of ``images`` images, in the form of the run's ``own``."""
    if isinstance(own, list) != isinstance(found, list) or len(found) != images or not images:
        return False
    first, other = (value[0] for value in (found, own))
    return first.dtype == other.dtype and first.ndim == other.ndim
