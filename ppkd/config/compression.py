"""PaddleDetection's slim files: which of them are distillation, and what is said of the others."""

from __future__ import annotations

from ppkd.config.value import Config, LocatedError
from ppkd.utils.errors import nearest

DISTILLATION = "Distill"
OTHERS = {
    "QAT": "quantisation-aware training",
    "PTQ": "quantisation after training",
    "Pruner": "pruning",
    "UnstructuredPruner": "unstructured pruning",
    "OFA": "training of a once-for-all network",
    "DistillPrune": "distillation and pruning at once",
    "PrunerQAT": "pruning and quantisation-aware training at once",
}


def require_distillation(slim: Config) -> None:
    """Raise :class:`ConfigError` unless ``slim`` is a file of distillation, saying what it is instead."""
    said = slim.get("slim")
    if said == DISTILLATION:
        return
    if isinstance(said, str) and said in OTHERS:
        raise LocatedError(
            slim.mark("slim"),
            f"slim: {said} is {OTHERS[said]}, which ppkd does not do: it distils and exports detectors in floating "
            f"point. Distil with a file that says slim: {DISTILLATION}, or leave --slim_config out",
        )
    hint = nearest(str(said), (DISTILLATION, *OTHERS)) if said is not None else ""
    raise LocatedError(slim.mark("slim"), f"a distillation file says `slim: {DISTILLATION}`{hint}")
