"""A batch in a file, to look at it again."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppkd.structures import Batch
from ppkd.utils.atomic import atomic_open
from ppkd.utils.errors import DataError

COUNTS = ".counts"
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
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as a batch ({error}); {EXPECTED}") from error
    if "image" not in arrays:
        raise DataError(f"{path}: there is no image in it; {EXPECTED}")
    batch: Batch = {}
    for key, array in arrays.items():
        if key + COUNTS in arrays:
            ends = np.cumsum(arrays[key + COUNTS]).tolist()
            together = paddle.to_tensor(array)
            batch[key] = [together[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
        elif not key.endswith(COUNTS):
            batch[key] = paddle.to_tensor(array)
    return batch
