"""Checking a whole detector configuration before anything heavy starts."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Any

from ppkd.config.answers import no_detector, no_key
from ppkd.config.convert import convert
from ppkd.config.factory import Plan, plan
from ppkd.config.instead import INSTEAD
from ppkd.config.options import runtime, runtime_keys
from ppkd.config.registry import find, lookup, names, shared_names
from ppkd.config.value import Config, LocatedError, Mark
from ppkd.utils.errors import nearest

READERS = ("TrainReader", "EvalReader", "TestReader")
DATASETS = ("TrainDataset", "EvalDataset", "TestDataset")
TRAINING = ("LearningRate", "OptimizerBuilder")
TRANSFORMS = ("sample_transforms", "batch_transforms")

# PaddleDetection's top-level keys for other devices, other tasks or its own launcher; a file may keep them.
WITHOUT_EFFECT = frozenset(
    {
        "use_xpu",
        "use_npu",
        "use_mlu",
        "use_gcu",
        "use_custom_device",
        "data_format",
        "hidden_dim",
        "eval_size",
        "log_ranks",
        "profiler_options",
        "print_mem_info",
        "uniform_output_enabled",
        "custom_white_list",
        "custom_black_list",
        "init_loss_scaling",
        "master_grad",
        "save_prediction_only",
        "IouType",
        "act",
        "assign_on_cpu",
        "classwise",
        "exclude_nms",
        "is_bbox_normalized",
        "nms_cpu",
        "output_eval",
        "to_static",
        "trt",
        "use_cpu",
        "use_process",
        "bias",
        "sync_bn",
        "ema_filter_no_grad",
        "cycle_epoch",
        "for_distill",
        "keep_best_weight",
    }
)

# Keys of PaddleDetection before 2.0, and what takes their place.
FORMER = {
    "use_fine_grained_loss": "distil with --slim_config slim/distill/yolov3_fine_grained.yml",
    "max_iters": "say how many epochs to train with epoch",
    "snapshot_iter": "say after how many epochs to save with snapshot_epoch",
    "_READER_": "name the reader's file in _BASE_",
}

INPUTS = {"image_shape": list[int | None], "num_max_boxes": int}
UNUSED_INPUTS = tuple(f"{reader}.inputs_def.num_max_boxes" for reader in READERS)

_log = logging.getLogger("ppkd.config")


def check(cfg: Config) -> None:
    """Check every key of a detector's configuration; nothing is built and no data set is opened.

    Raises :class:`ConfigError` with file, line, key and the nearest valid name for an unknown key or a wrong type.
    Known PaddleDetection keys that have no effect here, and settings of components that the detector does not use, are
    noted once in the log.
    """
    plans = _check_detector(cfg)
    runtime(cfg)
    known = {*runtime_keys(), *shared_names(), *READERS, *DATASETS}
    idle = {key for key in cfg if key in WITHOUT_EFFECT and key not in known}
    blocks = [key for key in cfg if key not in known | idle and not cfg.mark(key).anchor]
    for key in sorted(blocks, key=lambda key: key not in INSTEAD):
        if key in FORMER:
            raise LocatedError(cfg.mark(key), f"{key} is of PaddleDetection before 2.0: {FORMER[key]}")
        if find(key) is None:
            raise LocatedError(cfg.mark(key), no_key(cfg, key, [*known, *names(), *WITHOUT_EFFECT]))
        _check(cfg, key, cfg.mark(key))
    for key in DATASETS:
        if cfg.get(key) is not None:
            plans += _check(cfg, cfg[key], cfg.mark(key))
    for key in READERS:
        plans += _check_reader(cfg, key)
    idle |= {key for key in UNUSED_INPUTS if cfg.at(key, None) is not None}
    used = {each.component.name for each in plans} | {*TRAINING}
    idle |= {key for key in blocks if lookup(key, "").name not in used} | set(_idle_settings(plans))
    if idle:
        _note(f"{cfg.path or cfg.origin}: without effect here: {', '.join(sorted(idle))}")


def _check_detector(cfg: Config) -> list[Plan]:
    """Check the detector first: what another one is made of would only be answered with typing errors."""
    if "slim" in cfg:
        raise LocatedError(cfg.mark("slim"), no_key(cfg, "slim", ()))
    name = cfg.get("architecture")
    if name is None:
        return []
    if not isinstance(name, str) or find(name) is None:
        raise LocatedError(cfg.mark("architecture"), no_detector(str(name)))
    return _check(cfg, name, cfg.mark("architecture"))


@cache
def _note(line: str) -> None:
    """Log ``line`` once in a process: a file may be checked several times."""
    _log.info("%s", line)


def _idle_settings(plans: Iterable[Plan]) -> Iterator[str]:
    """``Component (setting, ...)`` for every component with settings that have no effect here."""
    found: dict[str, dict[str, None]] = {}
    for each in plans:
        kept = (key for key in each.settings if key in each.component.without_effect)
        found.setdefault(each.component.name, {}).update(dict.fromkeys(kept))
    return (f"{name} ({', '.join(keys)})" for name, keys in found.items() if keys)


def _check(cfg: Config, spec: object, mark: Mark) -> list[Plan]:
    """Check one component, its parts, and the components named in its settings; the plans of all of them."""
    if not isinstance(spec, str | Config):
        raise LocatedError(mark, f"expected a component's name or settings, not {spec!r}")
    return _check_parts(cfg, plan(cfg, spec, where=mark))


def _check_parts(cfg: Config, checked: Plan) -> list[Plan]:
    plans = [checked]
    for part in checked.parts.values():
        plans += _check_parts(cfg, part)
    for key, value in checked.settings.items():
        if key not in checked.parts and key not in checked.component.without_effect:
            for nested, mark in _components_in(value):
                plans += _check(cfg, nested, mark)
    return plans


def _components_in(value: object) -> Iterator[tuple[Config, Mark]]:
    """Mappings with a ``name`` of a component, at any depth of a setting that is passed on as it is."""
    items = value.values() if isinstance(value, Config) else value if isinstance(value, tuple) else ()
    if isinstance(value, Config) and isinstance(value.get("name"), str):
        yield value, value.origin
        return
    for item in items:
        yield from _components_in(item)


def _check_reader(cfg: Config, reader: str) -> list[Plan]:
    block = cfg.get(reader)
    if block is None:
        return []
    if not isinstance(block, Config):
        raise LocatedError(cfg.mark(reader), f"{reader} must be a mapping, not {block!r}")
    inputs = block.get("inputs_def")
    if inputs is not None:
        convert(inputs, dict[str, Any], f"{reader}.inputs_def", block.mark("inputs_def"))
        _refuse_unknown(inputs, f"{reader}.inputs_def", INPUTS)
        for key in inputs:
            convert(inputs[key], INPUTS[key], f"{reader}.inputs_def.{key}", inputs.mark(key))
    plans = _check(cfg, reader, cfg.mark(reader))
    for key in TRANSFORMS:
        entries = block.get(key) or ()
        if not isinstance(entries, tuple):
            raise LocatedError(block.mark(key), f"{reader}.{key} must be a list of transforms")
        for index, entry in enumerate(entries):
            plans += _check(cfg, entry, block.mark(f"{key}.{index}"))
    return plans


def _refuse_unknown(block: Config, name: str, valid: Collection[str]) -> None:
    for key in block:
        if key not in valid:
            raise LocatedError(block.mark(key), f"{name}.{key} is not a setting of {name}{nearest(key, valid)}")
