"""The pictures that ranges are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader

from ppkd.data import build_dataset
from ppkd.deploy.description import Description
from ppkd.deploy.int8.settings import Quantisation
from ppkd.deploy.preprocess import Prepared, Preprocess
from ppkd.utils.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from ppkd.config import Config

Inputs = dict[str, NDArray[Any]]


class Calibration(CalibrationDataReader):
    """The pictures ``batches`` for onnxruntime, which asks for a range of them at a time."""

    def __init__(self, batches: Sequence[Inputs]) -> None:
        self._batches = batches
        self.set_range(0, len(batches))

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Begin at ``start_index`` and end before ``end_index``."""
        self._left = iter(self._batches[start_index:end_index])

    def get_next(self) -> Inputs | None:
        """The next batch, None behind the last."""
        return next(self._left, None)


def calibration_batches(cfg: Config, description: Description, settings: Quantisation) -> list[Inputs]:
    """Pictures evenly spread over ``TrainDataset``, prepared as the model's description says: ``image`` [N, 3, H, W].

    Raises :class:`DataError` naming a picture that cannot be read.
    """
    dataset = build_dataset(cfg, "TrainDataset")
    size = description.batch or settings.batch_size
    count = min(len(dataset), settings.batches * size)
    places = np.linspace(0, len(dataset), count, endpoint=False).astype(int)
    prepare = Preprocess(description)
    samples = [_prepared(prepare, dataset[int(place)].file).sample for place in places]
    groups = [samples[start : start + size] for start in range(0, count, size)]
    if description.batch:
        groups[-1] += groups[-1][-1:] * (size - len(groups[-1]))
    return [{"image": prepare.collate(group)["image"]} for group in groups]


def _prepared(prepare: Preprocess, file: Path | str) -> Prepared:
    try:
        return prepare(file)
    except DataError as error:
        raise DataError(f"calibration: {error}; replace it, or leave it out of TrainDataset") from error
