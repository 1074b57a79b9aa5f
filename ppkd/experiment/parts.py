"""Parts of a run or an evaluation: data sets, models, what is logged of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ppkd.config import Config, Runtime
from ppkd.data import DetectionDataset, Loader, build_dataset
from ppkd.distill import DistillModel, build_distiller
from ppkd.engine.non_finite import image_namer
from ppkd.engine.protocols import Trainable
from ppkd.experiment.experiment import Experiment
from ppkd.experiment.pruning import prune_student
from ppkd.models import build_detector
from ppkd.models.detectors.detector import Detector
from ppkd.models.pruning.shrink import Shapes
from ppkd.models.weights import load_pretrain
from ppkd.report.complexity import complexity, count_parameters, image_size
from ppkd.structures import Batch
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


@dataclass(frozen=True)
class Images:
    """What a run reads: labelled images, and unlabelled ones where the slim file names some."""

    labelled: DetectionDataset
    unlabelled: DetectionDataset | None

    def names(self) -> Callable[[Batch], Sequence[str]]:
        """Names the images of a batch for people."""
        return image_namer(self.labelled, self.unlabelled)


def open_images(experiment: Experiment) -> Images:
    """The training images; raises :class:`PPKDError` for wrong settings or files."""
    labelled = open_dataset(experiment.config, "TrainDataset", experiment.runtime.num_classes)
    if experiment.slim is None or not experiment.slim.unlabelled:
        return Images(labelled, None)
    unlabelled = build_dataset(experiment.slim.config, "UnlabelledDataset")
    logger.info("UnlabelledDataset: %s", unlabelled.summary)
    return Images(labelled, unlabelled)


def open_dataset(cfg: Config, key: str, num_classes: int) -> DetectionDataset:
    """The labelled data set under ``key``; raises :class:`ConfigError` unless it has ``num_classes`` classes."""
    dataset = build_dataset(cfg, key)
    found = len(dataset.class_names)
    if found != num_classes:
        raise ConfigError(
            f"{cfg.where('num_classes')}: num_classes is {num_classes}, but {key} ({cfg.where(key)}) has {found} "
            f"classes: {', '.join(dataset.class_names[:10])}{', ...' if found > 10 else ''}. Set num_classes={found}, "
            "or name the data set that you mean."
        )
    logger.info("%s: %s", key, dataset.summary)
    return dataset


@dataclass(frozen=True)
class Models:
    """What is trained: a detector alone or a distillation model, which is then ``distilled`` as well.

    ``pruned`` are the shapes of the student's parameters that have fewer channels than its configuration says.
    """

    trained: Trainable
    distilled: DistillModel | None
    pruned: Shapes


def build_models(experiment: Experiment, loader: Loader) -> Models:
    """What ``experiment`` trains, with its pretrained weights unless they come from a checkpoint.

    Where the student is pruned, batches of ``loader`` may measure what it can do without.
    """
    pretrain = experiment.runtime.pretrain_weights if experiment.options.resume is None else None
    pruned: dict[str, Sequence[int]] = {}

    def shape(student: Detector) -> None:
        pruned.update(prune_student(experiment, student, loader))

    if experiment.slim is not None and experiment.slim.distils:
        distilled = build_distiller(experiment.config, experiment.slim.config, pretrain=pretrain, shape=shape)
        _check_masks(experiment.config, distilled.deployable(), loader)
        return Models(distilled, distilled, pruned)
    detector = build_detector(experiment.config)
    _check_masks(experiment.config, detector, loader)
    if pretrain:
        logger.info("Pretrained weights: %s", load_pretrain(detector, pretrain))
    shape(detector)
    return Models(detector, None, pruned)


def _check_masks(cfg: Config, detector: Detector, loader: Loader) -> None:
    """Raise :class:`ConfigError` if ``detector`` learns from masks, but the training set reads none."""
    if detector.reads_masks and not loader.dataset.masks:
        raise ConfigError(
            f"{cfg.where('TrainDataset')}: {type(detector).__name__} learns from masks: write name: COCODataSet and "
            "data_fields: [image, gt_bbox, gt_class, gt_poly, is_crowd], or choose FasterRCNN"
        )


def log_size(cfg: Config, settings: Runtime, detector: Any) -> None:
    """Parameters and operations of the deployed detector, where ``print_params`` and ``print_flops`` ask for them."""
    if settings.print_params:
        logger.info("Model Params : %.6f M", count_parameters(detector) / 1e6)
    if settings.print_flops:
        size = image_size(cfg)
        gflops = complexity(detector, *size).gflops
        logger.info("Model FLOPs : %.6fG. (image shape is %s)", gflops, [3, *size])
