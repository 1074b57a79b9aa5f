"""The entries of queries that decoder layers answer for: what losses between two such detectors read."""

from __future__ import annotations

from ppkd.structures import DetectorSpec
from ppkd.utils.errors import SpecError

LOGITS, BOXES, FEATURES, MEMORY = "query_logits", "query_boxes", "query_features", "memory"


def require_queries(asker: str, *specs: DetectorSpec) -> None:
    """Raise :class:`SpecError` unless all ``specs`` have queries whose answers the loss ``asker`` can read.

    These are class logits under a sigmoid and boxes as cx, cy, w, h in shares of the input, as rows.
    """
    for spec in specs:
        spec.require([LOGITS, BOXES], asker, kind="rows")
        spec.require_activation(LOGITS, "sigmoid", asker)
        if (coding := spec.entries[BOXES].coding) != "cxcywh":
            raise SpecError(
                f"{asker} reads {BOXES} as cxcywh, but {spec.name} records them as {coding}: choose another detector "
                "or loss."
            )


def require_same_cells(asker: str, student: DetectorSpec, teacher: DetectorSpec, mend: str) -> None:
    """Raise :class:`SpecError` unless the cells of both memories are the same, so that their numbers can be exchanged.

    ``mend`` is what to set where they are not.
    """
    own, other = (spec.entries[MEMORY].strides for spec in (student, teacher))
    if own != other:
        raise SpecError(
            f"{asker}: the cells that queries of {student.name} start from lie at strides {list(own)}, those of "
            f"{teacher.name} at {list(other)}: choose a teacher with the student's levels, or {mend}"
        )
