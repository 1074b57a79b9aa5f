"""PaddleDetection's slim files: which of them ppkd does, where, and what is said of the others."""

from __future__ import annotations

from ppkd.config.value import Config, LocatedError
from ppkd.utils.errors import nearest

DISTILLATION = "Distill"
QUANTISATION = "PTQ"
_HERE = {
    DISTILLATION: "is distillation, which `ppkd train` does",
    QUANTISATION: "is quantisation after training, which `ppkd export --format onnx` does",
}
OTHERS = {
    "QAT": "quantisation-aware training",
    "Pruner": "pruning",
    "UnstructuredPruner": "unstructured pruning",
    "OFA": "training of a once-for-all network",
    "DistillPrune": "distillation and pruning at once",
    "PrunerQAT": "pruning and quantisation-aware training at once",
}


def require_slim(slim: Config, *wanted: str) -> str:
    """The kind of ``slim``, one of those ``wanted``; raises :class:`ConfigError` saying what another file is."""
    said = slim.get("slim")
    if said in wanted:
        return str(said)
    if said in _HERE:
        hint = f"; here a file that says slim: {' or '.join(wanted)} is expected, or none"
        raise LocatedError(slim.mark("slim"), f"slim: {said} {_HERE[said]}{hint}")
    if isinstance(said, str) and said in OTHERS:
        raise LocatedError(
            slim.mark("slim"),
            f"slim: {said} is {OTHERS[said]}, which ppkd does not do: it distils (slim: {DISTILLATION}) and quantises "
            f"after training (slim: {QUANTISATION}, at export). Use such a file, or leave --slim_config out",
        )
    hint = nearest(str(said), (*_HERE, *OTHERS)) if said is not None else ""
    raise LocatedError(slim.mark("slim"), f"a distillation file says `slim: {DISTILLATION}`{hint}")


def require_distillation(slim: Config) -> None:
    """Raise :class:`ConfigError` unless ``slim`` is a file of distillation, saying what it is instead."""
    require_slim(slim, DISTILLATION)
