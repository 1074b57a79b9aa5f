"""A trained detector as one Python object: from a run's folder or an export, to predictions, figures and exports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ppkd.config import Config, load_config
from ppkd.config.value import Mark
from ppkd.data.datasets.image_folder import find_images
from ppkd.deploy.infer_cfg import FILE_NAME
from ppkd.deploy.onnx_file import NAME as ONNX_FILE
from ppkd.deploy.open_model import open_detector
from ppkd.deploy.pipeline import Pipeline
from ppkd.deploy.predictions import Prediction, Predictions
from ppkd.distill.teacher_run import CONFIG, run_weights
from ppkd.experiment.options import PathLike
from ppkd.utils.errors import ConfigError, DataError

Pictures = PathLike | NDArray[np.uint8] | Sequence[PathLike | NDArray[np.uint8]]
LOADED = Mark("Detector.load")


class Detector:
    """A trained detector; made by :meth:`load`.

    Attributes:
        class_names: the names of the classes.
        config: its configuration with its weights; None for an exported model.

    Examples:
        >>> detector = ppkd.Detector.load("output/my_run")
        >>> found = detector.predict("pictures/")
        >>> found.filter(score=0.5).save("drawn")
    """

    def __init__(
        self, pipeline: Pipeline, class_names: Sequence[str], category_ids: Sequence[int], config: Config | None
    ) -> None:
        self.pipeline = pipeline
        self.class_names = tuple(class_names)
        self.category_ids = tuple(category_ids)
        self.config = config

    @classmethod
    def load(
        cls, source: PathLike, weights: PathLike | None = None, *, device: Literal["cpu", "gpu"] | None = None
    ) -> Detector:
        """The detector of ``source``: a run's folder, an exported model's folder, or a configuration.

        Args:
            source: a run's folder gives ``best_model``, without an evaluation ``model_final``, else its newest
                checkpoint. A configuration, a file or a shipped name, gives its ``weights``.
            weights: others than these; not for an exported model.
            device: where it computes; for an exported model the CPU if not given, else what the configuration says.

        Raises:
            PPKDError: nothing of these is there, or it is damaged.
        """
        folder = Path(source).expanduser()
        if (folder / FILE_NAME).is_file() or (folder / ONNX_FILE).is_file():
            if weights is not None:
                raise ConfigError(f"{folder} is an exported model, which has its own weights")
            return cls._exported(folder, device)
        changed: dict[str, Any] = {} if device is None else {"use_gpu": device == "gpu"}
        if folder.is_dir():
            cfg = load_config(_run_config(folder))
            changed["weights"] = str(weights or _weights_of(folder))
        else:
            cfg = load_config(source)
            changed |= {} if weights is None else {"weights": str(weights)}
        for key, value in changed.items():
            cfg = cfg.with_item(key, value, LOADED)
        pipeline, labels = open_detector(cfg)
        return cls(pipeline, labels.names, labels.category_ids, cfg)

    @classmethod
    def _exported(cls, folder: Path, device: str | None) -> Detector:
        from ppkd.deploy.onnx_predictor import OnnxPredictor
        from ppkd.deploy.predictor import Predictor

        where: Literal["CPU", "GPU"] = "GPU" if device == "gpu" else "CPU"
        kind = Predictor if (folder / FILE_NAME).is_file() else OnnxPredictor
        made = kind(folder, device=where)
        return cls(made, made.config.label_list, made.config.category_ids, None)

    def __repr__(self) -> str:
        what = "exported model" if self.config is None else f"{self.config['architecture']}, {self.config['weights']}"
        return f"<Detector: {what}, {len(self.class_names)} classes>"

    def predict(self, pictures: Pictures, *, score: float = 0.3, batch_size: int = 1) -> Predictions:
        """What it finds in ``pictures``, objects that score at least ``score``.

        Args:
            pictures: a file, a folder (and what is below it), an RGB array uint8 (H, W, 3), or several of these.
            score: lowest score that is kept; 0 keeps all.
            batch_size: pictures that are computed at once.

        Raises:
            DataError: a picture is missing or cannot be read, or an array is no picture.
        """
        sources = list(_sources(pictures))
        found: list[Prediction] = []
        left = iter(enumerate(sources))
        while batch := list(islice(left, batch_size)):
            prepared = [self.pipeline.prepare(source) for _, source in batch]
            for (index, source), own in zip(batch, self.pipeline.detect(prepared), strict=True):
                name = source.name if isinstance(source, Path) else f"{index}.png"
                kept = own.take(own.rows[:, 1] >= score)
                found.append(Prediction(source, kept.rows, self.class_names, name, kept.masks))
        return Predictions(found, self.category_ids)

    def evaluate(self, **settings: Any) -> dict[str, float]:
        """Its figures on ``EvalDataset``; ``settings`` are those of :func:`ppkd.experiment.evaluate_config`."""
        from ppkd.experiment.evaluation import evaluate_config

        return evaluate_config(self._config("evaluate"), **settings)

    def export(
        self, output_dir: PathLike = "output_inference", *, format: Literal["paddle", "onnx"] = "paddle"
    ) -> Path:
        """Write it for deployment, and return the model's folder; :meth:`load` reads it again.

        Raises :class:`ConfigError` for packages that ``onnx`` needs and that are missing.
        """
        cfg = self._config("export")
        if format == "paddle":
            from ppkd.deploy.export import export_trained

            return export_trained(cfg, Path(output_dir))
        from ppkd.deploy.to_onnx.export import OPSET, export_trained_onnx

        return export_trained_onnx(cfg, Path(output_dir), outputs=None, opset=OPSET, picture=None).parent

    def _config(self, wanted: str) -> Config:
        if self.config is None:
            raise ConfigError(f"an exported model does not {wanted}: load the folder of the run that trained it")
        return self.config


def _run_config(folder: Path) -> Path:
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError(f"{folder} is neither a run's folder ({CONFIG}) nor an exported model ({FILE_NAME})")
    return path


def _weights_of(folder: Path) -> Path:
    weights = run_weights(folder)
    if weights is None:
        raise ConfigError(f"{folder} has no complete checkpoint yet: train it to the end of an epoch first")
    return weights


def _sources(pictures: Pictures) -> Iterator[Path | NDArray[np.uint8]]:
    """The files and arrays that ``pictures`` are; those of a folder sorted."""
    if isinstance(pictures, np.ndarray) and pictures.ndim == 3:
        if pictures.dtype != np.uint8 or pictures.shape[2] != 3:
            raise DataError(f"an array {pictures.dtype} {pictures.shape} is no picture: expected RGB uint8 (H, W, 3)")
        yield pictures
    elif isinstance(pictures, str | Path) or hasattr(pictures, "__fspath__"):
        yield from find_images(Path(pictures).expanduser())
    elif isinstance(pictures, Sequence | np.ndarray) and not (isinstance(pictures, np.ndarray) and pictures.ndim < 3):
        for each in pictures:
            yield from _sources(each)
    else:
        raise DataError(f"pictures are {type(pictures).__name__}: expected a path, an RGB array, or several of them")
