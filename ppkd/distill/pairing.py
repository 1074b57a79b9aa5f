"""Which level or stage of the student's entry is compared with which of the teacher's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ppkd.structures import NO_STRIDE, DetectorSpec, Entry
from ppkd.utils.errors import SpecError


@dataclass(frozen=True)
class LevelPair:
    """A level or stage of the student's entry and one of the teacher's: their positions, and the common stride."""

    student: int
    teacher: int
    stride: int


def pair_levels(student: Entry, teacher: Entry) -> tuple[LevelPair, ...]:
    """Pairs in the student's order.

    Levels of grids pair where their strides are equal, so that pyramids of different depth pair where they meet. Stages
    of rows, decoder layers say, pair from the last one backwards: the last stages of both give the detections.
    """
    if student.kind != teacher.kind:
        return ()
    if student.kind == "rows":
        common = min(len(student.levels), len(teacher.levels))
        first, other = len(student.levels) - common, len(teacher.levels) - common
        return tuple(LevelPair(first + i, other + i, NO_STRIDE) for i in range(common))
    by_stride = {stride: index for index, stride in enumerate(teacher.strides)}
    return tuple(
        LevelPair(index, by_stride[stride], stride)
        for index, stride in enumerate(student.strides)
        if stride in by_stride
    )


def checked_pairs(
    asker: str,
    name: str,
    student: DetectorSpec,
    teacher: DetectorSpec,
    *,
    decoded: bool = False,
    strides: Collection[int] | None = None,
) -> tuple[LevelPair, ...]:
    """The pairs of the entry ``name``, which both record, at ``strides`` alone where some are given.

    Raises :class:`SpecError` if no level pairs, or none at one of ``strides``, or, apart from features, what paired
    levels hold differs, or what it is relative to; the latter is for boxes that are compared ``decoded`` no matter.
    """
    own, other = student.entries[name], teacher.entries[name]
    if own.role != other.role or own.kind != other.kind:
        raise SpecError(
            f"{asker}: {name} is a {own.role} ({own.kind}) of {student.name}, but a {other.role} ({other.kind}) of "
            f"{teacher.name}: choose detectors of one kind, or another loss"
        )
    pairs = pair_levels(own, other)
    if not pairs:
        raise SpecError(
            f"{asker}: no level of {name} has the same stride in {student.name} {list(own.strides)} and "
            f"{teacher.name} {list(other.strides)}"
        )
    if own.role != "feature":
        _check_numbers(asker, name, student, teacher, pairs)
        if not decoded:
            _check_bases(asker, name, student, teacher, pairs)
    return pairs if strides is None else _at(asker, name, pairs, strides, student, teacher)


def check_same_places(asker: str, student: DetectorSpec, teacher: DetectorSpec) -> None:
    """Raise :class:`SpecError` unless the student's assigner can read the teacher's record in place of its own.

    ``asker`` is what asks for that. All numbers of the student's head must be the teacher's too, cell by cell.
    """
    numbers = [name for name, entry in student.entries.items() if entry.role != "feature"]
    for spec in (student, teacher):
        spec.require(numbers, asker, kind="grid")
    for name in numbers:
        own, other = student.entries[name], teacher.entries[name]
        checked_pairs(asker, name, student, teacher)
        if own.strides != other.strides:
            raise SpecError(
                f"{asker}: {name} is at strides {list(own.strides)} in {student.name}, but at {list(other.strides)} in "
                f"{teacher.name}: choose a teacher with the student's levels"
            )


def _at(
    asker: str,
    name: str,
    pairs: tuple[LevelPair, ...],
    strides: Collection[int],
    student: DetectorSpec,
    teacher: DetectorSpec,
) -> tuple[LevelPair, ...]:
    common = [pair.stride for pair in pairs]
    if missing := sorted(set(strides) - set(common)):
        raise SpecError(
            f"{asker}: strides asks for {missing}, but the levels of {name} that {student.name} and {teacher.name} "
            f"have in common are at {common}"
        )
    return tuple(pair for pair in pairs if pair.stride in strides)


def common_levels(
    asker: str, pairs: Mapping[str, Sequence[LevelPair]], student: DetectorSpec, teacher: DetectorSpec
) -> list[tuple[LevelPair, ...]]:
    """For every stride at which all entries of ``pairs`` pair, finest first: the pair of each entry, in their order.

    Raises :class:`SpecError` if there is no such stride.
    """
    by_stride = [{pair.stride: pair for pair in entry} for entry in pairs.values()]
    common = [stride for stride in by_stride[0] if all(stride in entry for entry in by_stride)]
    if not common:
        found = ", ".join(f"{name} {[pair.stride for pair in entry]}" for name, entry in pairs.items())
        raise SpecError(
            f"{asker} compares {' and '.join(pairs)} level by level, but {student.name} and {teacher.name} have them "
            f"at different strides: {found}. Choose detectors with a stride that all of them have."
        )
    return [tuple(entry[stride] for entry in by_stride) for stride in common]


def _check_numbers(
    asker: str, name: str, student: DetectorSpec, teacher: DetectorSpec, pairs: tuple[LevelPair, ...]
) -> None:
    """Raise :class:`SpecError` unless paired levels have the same channels, anchors and meaning."""
    own, other = student.entries[name], teacher.entries[name]
    if (own.activation, own.coding) != (other.activation, other.coding):
        raise SpecError(
            f"{asker}: {name} of {student.name} is read as {own.coding}, {own.activation}; that of {teacher.name} as "
            f"{other.coding}, {other.activation} (coding of boxes, activation). Choose detectors that agree."
        )
    for pair in pairs:
        one, another = own.levels[pair.student], other.levels[pair.teacher]
        if one != another:
            place = f" at stride {pair.stride}" if own.kind == "grid" else ""
            raise SpecError(
                f"{asker}: {name}{place} differs: {student.name} has {one.channels} channels x {one.anchors} anchors, "
                f"{teacher.name} {another.channels} x {another.anchors}. Give both detectors the same num_classes and "
                "anchors."
            )


def _check_bases(
    asker: str, name: str, student: DetectorSpec, teacher: DetectorSpec, pairs: tuple[LevelPair, ...]
) -> None:
    """Raise :class:`SpecError` unless paired levels are relative to the same anchors or points, where both tell."""
    own, other = student.entries[name].basis, teacher.entries[name].basis
    if own is None or other is None:
        return
    for pair in pairs:
        one, another = own.at(pair.student), other.at(pair.teacher)
        if one != another:
            place = f" at stride {pair.stride}" if student.entries[name].kind == "grid" else ""
            raise SpecError(
                f"{asker}: {name}{place} of {student.name} is relative to {one}; that of {teacher.name} to {another}. "
                "Give both detectors the same, or choose a loss on necks."
            )
