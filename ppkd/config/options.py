"""The top-level settings of a detector's configuration, with PaddleDetection's defaults."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, get_type_hints

from ppkd.config.convert import convert
from ppkd.config.value import Config, LocatedError, MissingKeyError
from ppkd.utils.errors import nearest


@dataclass(frozen=True)
class Export:
    """What the exported program contains: decoding, suppression, or bare heads for a benchmark."""

    post_process: bool = True
    nms: bool = True
    benchmark: bool = False
    fuse_conv_bn: bool = False


@dataclass(frozen=True)
class Runtime:
    """Checked top-level settings; ``epoch`` is 0 where the file names none."""

    architecture: str
    metric: Literal["COCO", "VOC"] = "COCO"
    map_type: Literal["11point", "integral", "coco_style"] = "11point"
    num_classes: int = 80
    epoch: int = 0
    gradient_accumulation_steps: int = 1
    seed: int = 0
    log_iter: int = 20
    snapshot_epoch: int = 1
    save_dir: str = "output"
    filename: str = ""
    weights: str | None = None
    pretrain_weights: str | None = None
    use_gpu: bool = True
    worker_num: int = 2
    norm_type: Literal["bn", "sync_bn"] = "bn"
    use_ema: bool = False
    ema_decay: float = 0.9998
    ema_decay_type: Literal["threshold", "normal", "exponential"] = "threshold"
    find_unused_parameters: bool = False
    amp: bool = False
    amp_level: Literal["O1", "O2"] = "O1"
    print_flops: bool = False
    print_params: bool = False
    use_vdl: bool = False
    vdl_log_dir: str = "vdl_log_dir/scalar"
    export: Export = field(default_factory=Export)


_LEAST = {
    "num_classes": 1,
    "log_iter": 1,
    "snapshot_epoch": 1,
    "epoch": 0,
    "gradient_accumulation_steps": 1,
    "worker_num": 0,
    "seed": 0,
    "stop_after_non_finite": 0,
}


def runtime(cfg: Config) -> Runtime:
    """The top-level settings of ``cfg``; raises :class:`ConfigError` for a wrong type, value or nested key."""
    values = _typed(Runtime, cfg, "")
    for key, least in _LEAST.items():
        if values.get(key, least) < least:
            raise LocatedError(cfg.mark(key), f"{key} is {values[key]}, expected at least {least}")
    if not 0 <= values.get("ema_decay", 0) < 1:
        raise LocatedError(cfg.mark("ema_decay"), f"ema_decay is {values['ema_decay']}, expected at least 0, below 1")
    if "architecture" not in values:
        raise MissingKeyError(cfg.origin, "needs the key 'architecture' (the detector's name)")
    values["filename"] = cfg.name
    values["export"] = _export(cfg)
    return Runtime(**values)


def runtime_keys() -> list[str]:
    """The top-level keys that :func:`runtime` reads."""
    return [f.name for f in fields(Runtime)]


def _export(cfg: Config) -> Export:
    block = cfg.get("export")
    if block is None:
        return Export()
    if not isinstance(block, Config):
        raise LocatedError(cfg.mark("export"), f"export must be a mapping, not {block!r}")
    valid = [f.name for f in fields(Export)]
    for key in block:
        if key not in valid:
            raise LocatedError(block.mark(key), f"export.{key} is not a setting of export{nearest(key, valid)}")
    return Export(**_typed(Export, block, "export."))


def _typed(cls: type, cfg: Config, prefix: str) -> dict[str, Any]:
    """The settings of dataclass ``cls`` that ``cfg`` sets, checked; a null stands for the default."""
    hints = get_type_hints(cls)
    keys = [f.name for f in fields(cls) if f.name in cfg and f.default_factory is MISSING]
    return {key: convert(cfg[key], hints[key], prefix + key, cfg.mark(key)) for key in keys if cfg[key] is not None}
