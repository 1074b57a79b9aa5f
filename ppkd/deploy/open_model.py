"""A trained detector in any of the forms that it is kept in, as a pipeline from pictures to detections."""

from __future__ import annotations

from pathlib import Path

from ppkd.config import Config, check, load_config, runtime
from ppkd.config.value import OVERRIDE, Mark
from ppkd.deploy.engine import EagerEngine
from ppkd.deploy.infer_cfg import FILE_NAME, InferConfig
from ppkd.deploy.labels import ClassLabels, class_labels
from ppkd.deploy.onnx_file import NAME
from ppkd.deploy.onnx_predictor import OnnxPredictor
from ppkd.deploy.pipeline import Pipeline
from ppkd.deploy.predictor import Predictor
from ppkd.deploy.preprocess import Preprocess
from ppkd.distill.teacher_run import CONFIG, teacher_block
from ppkd.engine.environment import choose_device
from ppkd.models.trained import trained_detector


def open_model(named: Path, overrides: list[str]) -> tuple[Pipeline, ClassLabels]:
    """What ``named`` means: a configuration, the folder of a run, an exported folder, or an ONNX file of ppkd's.

    ``overrides`` are those of ``-o``, for the first two. Raises :class:`PPKDError` for what is none of these.
    """
    if named.suffix == ".onnx" or ((named / NAME).is_file() and not (named / FILE_NAME).is_file()):
        exported: OnnxPredictor | Predictor = OnnxPredictor(named)
    elif (named / FILE_NAME).is_file():
        exported = Predictor(named)
    else:
        return open_detector(_configured(named, overrides))
    return exported, ClassLabels(tuple(exported.config.label_list), tuple(exported.config.category_ids))


def open_detector(cfg: Config) -> tuple[Pipeline, ClassLabels]:
    """The detector of ``cfg`` with its ``weights``, on the device of ``cfg``, and its classes.

    Raises :class:`PPKDError` for a wrong configuration or wrong weights.
    """
    check(cfg)
    settings = runtime(cfg)
    choose_device(settings.use_gpu, tf32=settings.tf32)
    detector = trained_detector(cfg)
    labels = class_labels(cfg, detector.class_names)
    config = InferConfig.of(cfg, labels.names, labels.category_ids)
    return Pipeline(EagerEngine(detector), Preprocess(config, cfg.where("TestReader"))), labels


def _configured(named: Path, overrides: list[str]) -> Config:
    if not named.is_dir():
        return load_config(str(named), overrides)
    weights = teacher_block(named, Mark(str(named)))["weights"]
    cfg = load_config(named / CONFIG, overrides)
    return cfg if cfg.mark("weights") == OVERRIDE else cfg.with_item("weights", weights, Mark(str(named)))
