"""From configurations to the parts of a run."""

from __future__ import annotations

from typing import Any

from paddle import nn

from ppkd.config import Config, Runtime, build, check
from ppkd.data import build_dataset
from ppkd.data.build import check_readers
from ppkd.engine.schedules import build_schedule
from ppkd.models import build_detector
from ppkd.models.weights import load_pretrain
from ppkd.report.complexity import complexity, count_parameters
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

FLOPS_SHAPE = (3, 640, 640)

logger = get_logger(__name__)


def check_all(cfg: Config, slim: Config | None) -> None:
    """Check the configurations of a run before anything heavy starts; raises :class:`ConfigError`."""
    check(cfg)
    check_readers(cfg)
    build(cfg, {"name": "OptimizerBuilder"})
    build_schedule(cfg, 1)
    if slim is not None:
        from ppkd.distill.build import check_slim

        check_slim(slim, cfg)


def open_dataset(cfg: Config, key: str, num_classes: int) -> Any:
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


def build_model(cfg: Config, slim: Config | None, pretrain: str | None) -> Any:
    """The detector of ``cfg``, inside a distillation model when there is a ``slim``, with its pretrained weights."""
    if slim is not None:
        from ppkd.distill import build_distiller

        return build_distiller(cfg, slim, pretrain=pretrain)
    model = build_detector(cfg)
    if pretrain:
        logger.info("Pretrained weights: %s", load_pretrain(model, pretrain))
    return model


def trained_parameters(model: nn.Layer) -> list[Any]:
    """The parameters that the optimizer changes."""
    return [parameter for parameter in model.parameters() if not parameter.stop_gradient]


def log_size(cfg: Config, options: Runtime, detector: Any) -> None:
    """Parameters and operations of the deployed detector, where ``print_params`` and ``print_flops`` ask for them."""
    if options.print_params:
        logger.info("Model Params : %.6f M", count_parameters(detector) / 1e6)
    if options.print_flops:
        shape = tuple(cfg.at("TestReader.inputs_def.image_shape", None) or FLOPS_SHAPE)[-3:]
        if -1 in shape or None in shape:
            shape = FLOPS_SHAPE
        gflops = complexity(detector, shape[1], shape[2]).gflops
        logger.info("Model FLOPs : %.6fG. (image shape is %s)", gflops, list(shape))
