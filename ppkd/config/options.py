"""The top-level settings of a detector's configuration, with PaddleDetection's defaults."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final, Literal, TypeVar, get_type_hints

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
class Preflight:
    """What is done before the first step.

    ``evaluate`` scores the teacher on up to ``images`` images of ``EvalDataset``, for up to ``seconds``; ``batch`` is a
    file of a run's folder ``non_finite`` to check instead of the first batch.
    """

    evaluate: bool = True
    images: int = 64
    seconds: float = 20.0
    batch: str | None = None


_Settings = TypeVar("_Settings", Export, Preflight)

FROM_WEIGHTS: Final = "weights"
"""``pruned`` of a detector whose weights alone tell how many channels it has."""


@dataclass(frozen=True)
class Runtime:
    """Checked top-level settings; ``epoch`` is 0 where the file names none.

    ``best_by`` is the figure that decides which model is the best one, the metric's first if not given. Training ends
    after ``patience`` evaluations in a row that were not better, never if not given.
    """

    architecture: str
    metric: Literal["COCO", "VOC"] = "COCO"
    map_type: Literal["11point", "integral", "coco_style"] = "11point"
    num_classes: int = 80
    epoch: int = 0
    gradient_accumulation_steps: int = 1
    seed: int = 0
    log_iter: int = 20
    snapshot_epoch: int = 1
    best_by: str | None = None
    patience: int | None = None
    save_dir: str = "output"
    filename: str = ""
    weights: str | None = None
    pretrain_weights: str | None = None
    use_gpu: bool = True
    tf32: bool = False
    worker_num: int = 2
    norm_type: Literal["bn", "sync_bn"] = "bn"
    use_ema: bool = False
    ema_decay: float = 0.9998
    ema_decay_type: Literal["threshold", "normal", "exponential"] = "threshold"
    ema_black_list: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    find_unused_parameters: bool = False
    amp: bool = False
    amp_level: Literal["O1", "O2"] = "O1"
    amp_dtype: Literal["float16", "bfloat16"] | None = None
    stop_after_non_finite: int = 5
    print_flops: bool = False
    print_params: bool = False
    use_vdl: bool = False
    vdl_log_dir: str = "vdl_log_dir/scalar"
    pruned: dict[str, tuple[int, ...]] | Literal["weights"] | None = None
    export: Export = field(default_factory=Export)
    preflight: Preflight = field(default_factory=Preflight)


_LEAST = {
    "num_classes": 1,
    "log_iter": 1,
    "snapshot_epoch": 1,
    "patience": 1,
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
    values["export"] = _block(Export, cfg, "export")
    values["preflight"] = _block(Preflight, cfg, "preflight")
    return Runtime(**values)


def runtime_keys() -> list[str]:
    """The top-level keys that :func:`runtime` reads."""
    return [f.name for f in fields(Runtime)]


def _block(cls: type[_Settings], cfg: Config, name: str) -> _Settings:
    """The settings of dataclass ``cls`` under the key ``name``; raises :class:`ConfigError` for any other key."""
    block = cfg.get(name)
    if block is None:
        return cls()
    if not isinstance(block, Config):
        raise LocatedError(cfg.mark(name), f"{name} must be a mapping, not {block!r}")
    valid = [f.name for f in fields(cls)]
    for key in block:
        if key not in valid:
            raise LocatedError(block.mark(key), f"{name}.{key} is not a setting of {name}{nearest(key, valid)}")
    return cls(**_typed(cls, block, f"{name}."))


def _typed(cls: type, cfg: Config, prefix: str) -> dict[str, Any]:
    """The settings of dataclass ``cls`` that ``cfg`` sets, checked; a null stands for the default."""
    hints = get_type_hints(cls)
    keys = [f.name for f in fields(cls) if f.name in cfg and f.default_factory is MISSING]
    return {key: convert(cfg[key], hints[key], prefix + key, cfg.mark(key)) for key in keys if cfg[key] is not None}
