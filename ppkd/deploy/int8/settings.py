"""What a slim file says of quantisation after training, in ppkd's form or in PaddleDetection's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from ppkd.config import Config
from ppkd.config.convert import convert
from ppkd.config.value import LocatedError
from ppkd.utils.errors import nearest

Method = Literal["minmax", "percentile"]
KEYS = ("slim", "weights", "quant", "PTQ")
_THEIRS = ("ptq_config", "quant_batch_num", "fuse")
_QUANTISERS: dict[str, Method] = {
    "AbsmaxQuantizer": "minmax",
    "HistQuantizer": "percentile",
}


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """How a model is quantised.

    Attributes:
        batches: how many batches of the training set the ranges of the numbers are measured on.
        batch_size: images of a batch; a model of a fixed batch takes its own number.
        method: how a range is chosen: all that was seen, or the ``percentile`` of it.
        percentile: percent of the numbers that lie inside of a range.
        bound: the largest difference of a head's output to float, RMS relative to its standard deviation, at which no
            more layers are left in float.
        most_float: how many layers may be left in float.
        evaluate: whether both models are evaluated on ``EvalDataset``.
    """

    batches: int = 16
    batch_size: int = 4
    method: Method = "minmax"
    percentile: float = 99.99
    bound: float = 0.1
    most_float: int = 8
    evaluate: bool = True

    def __post_init__(self) -> None:
        for name, least in (("batches", 1), ("batch_size", 1), ("most_float", 0), ("bound", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if not 50 < self.percentile <= 100:
            raise ValueError(f"percentile is {self.percentile}, expected above 50, at most 100")


def quantisation(slim: Config, batch_size: int = 1) -> Quantisation:
    """The settings of ``slim``; ``batch_size`` is that of PaddleDetection's form, the evaluation reader's.

    Raises :class:`ConfigError` with file, line and key for one that is unknown or of a wrong value.
    """
    _refuse_others(slim, slim, KEYS, "")
    if "PTQ" in slim and "quant" in slim:
        raise LocatedError(slim.mark("PTQ"), "PTQ is PaddleDetection's form of quant: give one of them")
    if slim.get("quant") is not None:
        _refuse_others(slim, slim["quant"], tuple(field.name for field in fields(Quantisation)), "quant.")
    values = _of_theirs(slim, batch_size) if "PTQ" in slim else slim.get("quant") or {}
    found: Quantisation = convert(values, Quantisation, "quant", slim.mark("PTQ" if "PTQ" in slim else "quant"))
    return found


def _of_theirs(slim: Config, batch_size: int) -> dict[str, Any]:
    block = slim["PTQ"] or {}
    _refuse_others(slim, block, _THEIRS, "PTQ.")
    config = block.get("ptq_config") or {}
    if not isinstance(config, Mapping):
        raise LocatedError(slim.mark("PTQ"), "PTQ.ptq_config must be a mapping")
    name = config.get("activation_quantizer", "HistQuantizer")
    if name not in _QUANTISERS:
        known = tuple(_QUANTISERS)
        raise LocatedError(
            slim.mark("PTQ"),
            f"PTQ.ptq_config.activation_quantizer {name} is not known{nearest(str(name), known)}; "
            f"known are {', '.join(known)}",
        )
    values = {"batches": block.get("quant_batch_num", 10), "batch_size": batch_size, "method": _QUANTISERS[name]}
    share = config.get("hist_percent")
    return values if share is None else {**values, "percentile": _percent(share, slim)}


def _percent(share: object, slim: Config) -> float:
    """The percent that ``share`` of 1 is."""
    if not isinstance(share, float | int) or isinstance(share, bool):
        raise LocatedError(slim.mark("PTQ"), f"PTQ.ptq_config.hist_percent is {share!r}, expected a number")
    return 100.0 * share


def _refuse_others(slim: Config, block: object, known: tuple[str, ...], prefix: str) -> None:
    if not isinstance(block, Mapping):
        raise LocatedError(slim.mark(prefix.rstrip(".")), f"{prefix.rstrip('.')} must be a mapping")
    for key in block:
        if key not in known:
            mark = block.mark(key) if isinstance(block, Config) else slim.origin
            near = nearest(key, known)
            raise LocatedError(
                mark, f"{prefix}{key} is no key of a file of quantisation{near}; known are {', '.join(known)}"
            )
