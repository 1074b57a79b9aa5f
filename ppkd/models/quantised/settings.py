"""The block ``QAT`` of a slim file, in ppkd's form or in PaddleDetection's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppkd.config import Config
from ppkd.config.convert import convert
from ppkd.config.value import LocatedError
from ppkd.utils.errors import nearest
from ppkd.utils.logger import get_logger

BLOCK = "QAT"
KEYS = ("moving_rate", "batches", "evaluate", "quant_config", "print_model")
"""The last two are PaddleDetection's."""
ONLY: Mapping[str, Any] = {
    "weight_quantize_type": "channel_wise_abs_max",
    "activation_quantize_type": "moving_average_abs_max",
    "weight_bits": 8,
    "activation_bits": 8,
    "dtype": "int8",
}
"""Of PaddleDetection's ``quant_config``: keys with the one value that is done here."""
WITHOUT_EFFECT = ("window_size", "quantizable_layer_type", "weight_preprocess_type")
PREPROCESS = "activation_preprocess_type"

_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainedQuantisation:
    """How a student is trained with 8-bit numbers.

    Attributes:
        moving_rate: the share of a range that stays when a batch comes.
        batches: how many training batches the ranges are measured on before the first step.
        evaluate: whether the export evaluates the float and the INT8 model on ``EvalDataset``.
    """

    moving_rate: float = 0.9
    batches: int = 8
    evaluate: bool = True

    @classmethod
    def of(cls, slim: Config) -> TrainedQuantisation:
        """The block of ``slim``; raises :class:`ConfigError` for what is unknown, not done here, or out of bounds."""
        block = slim.get(BLOCK)
        if block is None:
            return cls()
        if not isinstance(block, Config):
            raise LocatedError(slim.mark(BLOCK), f"{BLOCK} must be a mapping with {', '.join(KEYS)}")
        _refuse_unknown(block, KEYS, BLOCK)
        theirs = block.get("quant_config")
        rate = block.get("moving_rate")
        if theirs is not None:
            rate = _rate_of_theirs(block) if rate is None else rate
        made = cls(
            moving_rate=convert(0.9 if rate is None else rate, float, f"{BLOCK}.moving_rate", slim.mark(BLOCK)),
            batches=convert(block.get("batches", 8), int, f"{BLOCK}.batches", slim.mark(BLOCK)),
            evaluate=convert(block.get("evaluate", True), bool, f"{BLOCK}.evaluate", slim.mark(BLOCK)),
        )
        if not 0 <= made.moving_rate < 1:
            raise LocatedError(
                slim.mark(BLOCK), f"{BLOCK}.moving_rate is {made.moving_rate}, expected at least 0 and below 1"
            )
        if made.batches < 1:
            raise LocatedError(slim.mark(BLOCK), f"{BLOCK}.batches is {made.batches}, expected at least 1")
        return made


def _rate_of_theirs(block: Config) -> object:
    """``moving_rate`` of PaddleDetection's ``quant_config``, whose other keys are checked."""
    theirs = block["quant_config"]
    if not isinstance(theirs, Config):
        raise LocatedError(block.mark("quant_config"), f"{BLOCK}.quant_config must be a mapping")
    _refuse_unknown(theirs, (*ONLY, *WITHOUT_EFFECT, PREPROCESS, "moving_rate"), f"{BLOCK}.quant_config")
    for key, value in ONLY.items():
        if theirs.get(key, value) != value:
            raise LocatedError(
                theirs.mark(key), f"{BLOCK}.quant_config.{key} is {theirs[key]}: what ppkd does is {value}"
            )
    if theirs.get(PREPROCESS) is not None:
        _log.warning(
            "%s: %s %s is not done: ranges are moving averages alone",
            theirs.where(PREPROCESS),
            PREPROCESS,
            theirs[PREPROCESS],
        )
    return theirs.get("moving_rate")


def _refuse_unknown(block: Config, known: tuple[str, ...], name: str) -> None:
    for key in block:
        if key not in known:
            raise LocatedError(block.mark(key), f"{name}.{key} is not a setting of {name}{nearest(key, known)}")
