"""The training set as losses see it outside of training steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path

from ppkd.config import Config
from ppkd.data import build_loader
from ppkd.data.datasets import DetectionDataset
from ppkd.data.training_set import TrainingSet
from ppkd.engine.random_state import batches_apart
from ppkd.structures import Batch
from ppkd.utils import processes


def training_set(cfg: Config, dataset: DetectionDataset, folder: Path) -> TrainingSet:
    """The images of ``dataset`` in the transforms and batches of ``EvalReader``, for the run of ``folder``."""

    def batches(indices: Sequence[int]) -> Iterable[Batch]:
        part = copy(dataset)
        part.annotations = [dataset[index] for index in indices]
        return batches_apart(build_loader(cfg, "Eval", part, alone=True))

    return TrainingSet(dataset, dataset.class_names, batches, folder if processes.is_first() else None)
