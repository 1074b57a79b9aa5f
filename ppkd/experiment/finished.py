"""A training run as its folder has it, for the page about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import paddle

from ppkd.config import Config, load_config
from ppkd.data import Annotation, DetectionDataset, build_dataset
from ppkd.distill.build import first_teacher
from ppkd.distill.teacher_run import PREFERRED
from ppkd.engine import environment
from ppkd.engine.checkpoint_files import WEIGHTS, file_of, newest_complete
from ppkd.engine.hooks.results import FILE_NAME as RESULTS
from ppkd.engine.random_state import batches_apart
from ppkd.experiment.evaluation import evaluate_config
from ppkd.experiment.experiment import Experiment
from ppkd.experiment.folder import CONFIG, SLIM
from ppkd.metrics import Metric, build_metric
from ppkd.metrics.diagnosis import Evaluated, Matches, matches, thresholds
from ppkd.metrics.metric import BBOX_FILE
from ppkd.metrics.results_file import read_detections
from ppkd.models.detectors.detector import Detector
from ppkd.models.modes import evaluation_mode
from ppkd.models.views import detect
from ppkd.report.curves import Columns, read_results
from ppkd.utils import processes
from ppkd.utils.errors import ConfigError, DataError
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)

Found = Mapping[int, np.ndarray]
"""Detections (k, 6) = class index, score, x1, y1, x2, y2 by image id."""


@dataclass(frozen=True)
class Judged:
    """A detector's answers on the evaluation set: what it found, what became of it, the score with the best F1."""

    name: str
    found: Found
    matches: Matches
    score: float


class FinishedRun:
    """What the files in the folder of a run say.

    Its detections are those of its weights where it was just ``evaluated``, whatever the times of the files.

    Raises :class:`ConfigError` for a folder that is no run's.
    """

    def __init__(self, folder: Path, *, evaluated: bool = False) -> None:
        if not (folder / CONFIG).is_file():
            raise ConfigError(f"{folder} has no {CONFIG}, so it is no run's folder; name one that training wrote")
        self.folder = folder
        self._evaluated = evaluated
        slim = load_config(folder / SLIM) if (folder / SLIM).is_file() else None
        self.experiment = Experiment.parse(load_config(folder / CONFIG), slim).at(folder)

    @cached_property
    def results(self) -> Columns:
        """The columns of its ``results.csv``; none without any."""
        file = self.folder / RESULTS
        return read_results(file) if file.is_file() else {}

    @cached_property
    def weights(self) -> Path | None:
        """The weights of the last epoch, or the newest ones of a run that is not done."""
        final = self.folder / PREFERRED[-1]
        return final if file_of(final, WEIGHTS).is_file() else newest_complete(self.folder)

    @cached_property
    def training(self) -> DetectionDataset:
        """Its training set."""
        return build_dataset(self.experiment.config, "TrainDataset")

    @cached_property
    def evaluation(self) -> DetectionDataset | None:
        """Its evaluation set, if it names one."""
        cfg = self.experiment.config
        return build_dataset(cfg, "EvalDataset") if cfg.get("EvalDataset") is not None else None

    def judged(self, name: str) -> Judged | None:
        """Its detections on the evaluation set under the ``name``; made now where the folder has none of its weights.

        ``None`` for a run without evaluation set, or with neither detections nor weights.
        """
        dataset, file = self.evaluation, self.folder / BBOX_FILE
        if dataset is None:
            return None
        if self._outdated(file):
            # One of several processes cannot evaluate: it would wait for the others.
            if self.weights is None or processes.together():
                return None
            logger.info("%s has no detections of its weights: %s is evaluated", self.folder, self.weights.name)
            evaluate_config(self.experiment.config, str(self.weights), output_dir=self.folder)
        found = read_detections(file, dataset)
        met = matches(Evaluated.of(dataset.annotations, len(dataset.class_names), found))
        return Judged(name, found, met, thresholds(met).best)

    def judged_like(self, other: FinishedRun, name: str) -> Judged | None:
        """The detections of the run ``other`` under the ``name``, on the evaluation set of this one.

        Raises :class:`DataError` when they are of another one.
        """
        answered = other.judged(name)
        if answered is None or self.evaluation is None or other.evaluation is None:
            return None
        if [one.im_id for one in self.evaluation] != [one.im_id for one in other.evaluation]:
            raise DataError(f"{other.folder} was evaluated on other images than {self.folder}: name a baseline like it")
        return answered

    def scored(self, found: Found) -> tuple[dict[str, float], Metric]:
        """The figures of ``found`` on the evaluation set, and the metric that made them."""
        assert self.evaluation is not None
        metric = build_metric(self.experiment.config, self.experiment.runtime, self.evaluation, output_dir=None)
        for im_id, rows in found.items():
            metric.update({"im_id": np.array([[im_id]])}, {"bbox": rows, "bbox_num": np.array([len(rows)])})
        return metric.accumulate(), metric

    @property
    def distillation(self) -> Config | None:
        """The slim file of a distillation."""
        slim = self.experiment.slim
        return slim.config if slim is not None and slim.distils else None

    def teacher(self) -> Detector | None:
        """The teacher of a distillation, of several the first."""
        return None if self.distillation is None else first_teacher(self.experiment.config, self.distillation)

    def predict(self, detector: Detector, annotations: Sequence[Annotation]) -> Found:
        """What ``detector`` finds in the images of the evaluation set that ``annotations`` name."""
        assert self.evaluation is not None
        environment.choose_device(self.experiment.runtime.use_gpu, tf32=self.experiment.runtime.tf32)
        part = copy(self.evaluation)
        part.annotations = list(annotations)
        found: dict[int, np.ndarray] = {}
        with evaluation_mode(detector), paddle.no_grad():
            for batch in batches_apart(self.experiment.evaluation_loader(part, worker_num=0)):
                result = detect(detector, batch)
                rows = np.split(result["bbox"].numpy(), np.cumsum(result["bbox_num"].numpy())[:-1])
                ids = batch["im_id"].numpy().ravel().tolist()
                found |= {im_id: own[own[:, 0] >= 0] for im_id, own in zip(ids, rows, strict=True)}
        return found

    def _outdated(self, file: Path) -> bool:
        """Whether the detections in ``file`` are missing, or older than the weights."""
        if self._evaluated or not file.is_file():
            return not file.is_file()
        return self.weights is not None and file.stat().st_mtime < file_of(self.weights, WEIGHTS).stat().st_mtime
