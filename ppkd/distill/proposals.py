"""The entries of second stages: what losses on proposals read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ppkd.structures import DetectorSpec
from ppkd.utils.errors import SpecError

Part = Literal["deltas", "features"]


@dataclass(frozen=True)
class ProposalEntries:
    """The names of what a detector records of proposals.

    Attributes:
        boxes: the proposals themselves, corner boxes.
        classes: logits under a softmax, the background last.
        deltas: boxes refined, as offsets from the proposals; empty where they are not recorded.
        features: what was pooled at the proposals; empty where it is not recorded.
    """

    boxes: str
    classes: str
    deltas: str = ""
    features: str = ""


def find_proposals(spec: DetectorSpec) -> ProposalEntries | None:
    """The entries of a second stage; None for detectors that record no proposals with classes under a softmax."""
    corners, deltas = (_coded(spec, coding) for coding in ("corners", "deltas"))
    classes = [name for name in spec.of("class", kind="rows") if spec.entries[name].activation == "softmax"]
    if not corners or not classes:
        return None
    features = spec.of("feature", kind="rows")
    return ProposalEntries(corners[0], classes[0], "".join(deltas[:1]), "".join(features[:1]))


def require_proposals(
    asker: str, student: DetectorSpec, teacher: DetectorSpec, *, also: Part | None = None, mend: str = "another loss"
) -> ProposalEntries:
    """The student's entries of a second stage.

    Args:
        asker: the loss.
        student: what the student records.
        teacher: what the teacher records.
        also: a part that must be recorded besides the proposals and their classes.
        mend: what to do otherwise than to choose other detectors.

    Raises:
        SpecError: one of the two has no second stage, or lacks that part.
    """
    lacking = [spec for spec in (student, teacher) if not _has(spec, also)]
    found = find_proposals(student)
    if lacking or found is None:
        wanted = f"proposals (rows of corner boxes, with classes under a softmax{f' and {also}' if also else ''})"
        recorded = " and ".join(f"{spec.name} records {sorted(spec.entries)}" for spec in lacking)
        raise SpecError(
            f"{asker} between the student {student.name} and the teacher {teacher.name} reads {wanted} of both, but "
            f"{recorded}: choose two detectors of two stages, or {mend}"
        )
    return found


def _has(spec: DetectorSpec, also: Part | None) -> bool:
    found = find_proposals(spec)
    return found is not None and (also is None or bool(getattr(found, also)))


def _coded(spec: DetectorSpec, coding: str) -> list[str]:
    return [name for name in spec.of("box", kind="rows") if spec.entries[name].coding == coding]
