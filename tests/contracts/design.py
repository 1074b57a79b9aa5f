"""Which pairs of detectors a loss takes, and with which of them it is computed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import product

from pairs import ALL_DETECTORS, ALL_LOSSES, detector, loss_between

from ppkd.structures import DetectorSpec
from ppkd.utils.errors import SpecError

Pair = tuple[str, str]
"""The names of a student and a teacher."""


@cache
def answers(loss: str) -> dict[Pair, str | None]:
    """For every pair of detectors the message with which the loss refuses it, None where it takes it."""
    return {pair: _refusal(loss, *map(_spec, pair)) for pair in product(ALL_DETECTORS, repeat=2)}


@cache
def design() -> dict[str, list[Pair]]:
    """A few of the pairs that each loss takes, by loss.

    Every loss is there with all students and all teachers that it takes in any pair, and every pair that any loss takes
    is there with one of them.
    """
    taken = {loss: [pair for pair, refusal in answers(loss).items() if refusal is None] for loss in ALL_LOSSES}
    chosen: dict[str, list[Pair]] = {}
    seen: set[Pair] = set()
    for loss, pairs in taken.items():
        chosen[loss] = _cover(pairs, seen)
        seen.update(chosen[loss])
    for loss, pairs in taken.items():
        chosen[loss] += [pair for pair in pairs if pair not in seen]
        seen.update(pairs)
    return chosen


def _cover(pairs: Iterable[Pair], seen: set[Pair]) -> list[Pair]:
    """Few of ``pairs`` with all their students and teachers, preferably not ``seen`` and of different detectors."""
    students, teachers = ({pair[side] for pair in pairs} for side in (0, 1))

    def worth(pair: Pair) -> tuple[int, bool, bool]:
        return (pair[0] in students) + (pair[1] in teachers), pair not in seen, pair[0] != pair[1]

    chosen = []
    while students or teachers:
        best = max(pairs, key=worth)
        chosen.append(best)
        students.discard(best[0])
        teachers.discard(best[1])
    return chosen


@cache
def _spec(name: str) -> DetectorSpec:
    return detector(name, seed=0).spec()


def _refusal(loss: str, student: DetectorSpec, teacher: DetectorSpec) -> str | None:
    try:
        loss_between(loss, student, teacher)
    except SpecError as error:
        return str(error)
    return None
