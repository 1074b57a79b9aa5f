"""PaddleDetection's slim files: which of them ppkd does, where, and what is said of the others."""

from __future__ import annotations

from ppkd.config.value import Config, LocatedError
from ppkd.utils.errors import nearest

DISTILLATION, PRUNING, BOTH, QUANTISATION = "Distill", "Pruner", "DistillPrune", "PTQ"
TRAINED_INT8, TAUGHT_INT8 = "QAT", "DistillQAT"
TRAINED = (DISTILLATION, PRUNING, BOTH, TRAINED_INT8, TAUGHT_INT8)
"""The kinds of files that a training is given."""
_HERE = {
    DISTILLATION: "is distillation, which `ppkd train` does",
    PRUNING: "is pruning, which `ppkd train` does",
    BOTH: "is distillation and pruning at once, which `ppkd train` does",
    QUANTISATION: "is quantisation after training, which `ppkd export --format onnx` does",
    TRAINED_INT8: "is quantisation-aware training, which `ppkd train` does",
    TAUGHT_INT8: "is distillation and quantisation-aware training at once, which `ppkd train` does",
}
OTHERS = {
    "UnstructuredPruner": "unstructured pruning",
    "OFA": "training of a once-for-all network",
    "PrunerQAT": "pruning and quantisation-aware training at once",
}


def distils(slim: Config) -> bool:
    """Whether ``slim`` is a file of distillation, with pruning or quantisation-aware training, or without."""
    return slim.get("slim") in (DISTILLATION, BOTH, TAUGHT_INT8)


def prunes(slim: Config) -> bool:
    """Whether ``slim`` is a file of pruning, with distillation or without."""
    return slim.get("slim") in (PRUNING, BOTH)


def trains_int8(slim: Config) -> bool:
    """Whether ``slim`` is a file of quantisation-aware training, with distillation or without."""
    return slim.get("slim") in (TRAINED_INT8, TAUGHT_INT8)


def require_slim(slim: Config, *wanted: str) -> str:
    """The kind of ``slim``, one of those ``wanted``; raises :class:`ConfigError` saying what another file is."""
    said = slim.get("slim")
    if said in wanted:
        return str(said)
    if isinstance(said, str) and said in _HERE:
        hint = f"; here a file that says slim: {' or '.join(wanted)} is expected, or none"
        raise LocatedError(slim.mark("slim"), f"slim: {said} {_HERE[said]}{hint}")
    if isinstance(said, str) and said in OTHERS:
        raise LocatedError(
            slim.mark("slim"),
            f"slim: {said} is {OTHERS[said]}, which ppkd does not do: it distils, prunes and quantises. "
            f"Use a file that says slim: {' or '.join(wanted)}, or leave --slim_config out",
        )
    hint = nearest(str(said), (*_HERE, *OTHERS)) if said is not None else ""
    raise LocatedError(slim.mark("slim"), f"a slim file says `slim: {'`, `slim: '.join(wanted)}`{hint}")


def require_distillation(slim: Config) -> None:
    """Raise :class:`ConfigError` unless ``slim`` is a file of distillation, saying what it is instead."""
    require_slim(slim, DISTILLATION, BOTH, TAUGHT_INT8)
