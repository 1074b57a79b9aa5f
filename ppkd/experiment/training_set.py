"""The training set as losses see it outside of training steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy

from ppkd.data.datasets import DetectionDataset
from ppkd.data.training_set import TrainingSet
from ppkd.engine.random_state import batches_apart
from ppkd.experiment.experiment import Experiment
from ppkd.structures import Batch
from ppkd.utils import processes


def training_set(experiment: Experiment, dataset: DetectionDataset) -> TrainingSet:
    """The images of ``dataset`` in the transforms and batches of ``EvalReader``."""

    def batches(indices: Sequence[int]) -> Iterable[Batch]:
        part = copy(dataset)
        part.annotations = [dataset[index] for index in indices]
        return batches_apart(experiment.evaluation_loader(part))

    folder = experiment.folder if processes.is_first() else None
    return TrainingSet(dataset, dataset.class_names, batches, folder)
