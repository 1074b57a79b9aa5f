"""PaddleDetection's slim files: which of them distil, which prune, and what is said of the others."""

from __future__ import annotations

from ppkd.config.value import Config, LocatedError
from ppkd.utils.errors import nearest

DISTILLATION, PRUNING, BOTH = "Distill", "Pruner", "DistillPrune"
OTHERS = {
    "QAT": "quantisation-aware training",
    "PTQ": "quantisation after training",
    "UnstructuredPruner": "unstructured pruning",
    "OFA": "training of a once-for-all network",
    "PrunerQAT": "pruning and quantisation-aware training at once",
}


def distils(slim: Config) -> bool:
    """Whether ``slim`` is a file of distillation, with pruning or without."""
    return slim.get("slim") in (DISTILLATION, BOTH)


def prunes(slim: Config) -> bool:
    """Whether ``slim`` is a file of pruning, with distillation or without."""
    return slim.get("slim") in (PRUNING, BOTH)


def require_supported(slim: Config) -> None:
    """Raise :class:`ConfigError` unless ``slim`` distils or prunes, saying what it is instead."""
    if distils(slim) or prunes(slim):
        return
    said = slim.get("slim")
    if isinstance(said, str) and said in OTHERS:
        raise LocatedError(
            slim.mark("slim"),
            f"slim: {said} is {OTHERS[said]}, which ppkd does not do: it distils, prunes and exports detectors in "
            f"floating point. Use a file that says slim: {DISTILLATION}, {PRUNING} or {BOTH}, or leave out "
            "--slim_config",
        )
    hint = nearest(str(said), (DISTILLATION, PRUNING, BOTH, *OTHERS)) if said is not None else ""
    raise LocatedError(
        slim.mark("slim"), f"a slim file says `slim: {DISTILLATION}`, `slim: {PRUNING}` or `slim: {BOTH}`{hint}"
    )


def require_distillation(slim: Config) -> None:
    """Raise :class:`ConfigError` unless ``slim`` is a file of distillation, saying what it is instead."""
    require_supported(slim)
    if not distils(slim):
        raise LocatedError(
            slim.mark("slim"), f"slim: {PRUNING} has no teacher; a file of distillation says {DISTILLATION} or {BOTH}"
        )
