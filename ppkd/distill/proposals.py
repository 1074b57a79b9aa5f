"""The entries of second stages: what losses on proposals read."""

from __future__ import annotations

from dataclasses import dataclass

from ppkd.structures import DetectorSpec
from ppkd.utils.errors import SpecError


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


def require_proposals(asker: str, student: DetectorSpec, teacher: DetectorSpec) -> ProposalEntries:
    """The student's entries of a second stage; raises :class:`SpecError` unless both detectors have one."""
    found = find_proposals(student)
    if found is None or find_proposals(teacher) is None:
        wanted = "proposals (rows of corner boxes, with classes under a softmax)"
        lacking = " and ".join(
            f"{spec.name} records {sorted(spec.entries)}" for spec in (student, teacher) if find_proposals(spec) is None
        )
        raise SpecError(
            f"{asker} between the student {student.name} and the teacher {teacher.name} reads {wanted} of both, but "
            f"{lacking}: choose two detectors of two stages, or another loss."
        )
    return found


def _coded(spec: DetectorSpec, coding: str) -> list[str]:
    return [name for name in spec.of("box", kind="rows") if spec.entries[name].coding == coding]
