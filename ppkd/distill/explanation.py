"""What a loss shows of itself on a batch, for people to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import paddle
from paddle import Tensor

from ppkd.distill.pairing import LevelPair
from ppkd.distill.side import Side

EPS = 1e-12
_READ_DIFFERENCE = (
    "The distance of student and teacher in each cell, over the teacher's mean length: bright cells are where they "
    "disagree, and where a loss on these numbers finds something to teach."
)


@dataclass(frozen=True)
class CellMap:
    """A number for every cell of a level.

    Attributes:
        title: what it is.
        stride: the level's.
        values: float32 [N, H, W], 0 or more.
        reading: one sentence on how to read it.
        scale: maps of one name have one scale of colours, so that they can be compared.
        disagrees: whether it is how far student and teacher are apart, so that training shall make it small.
    """

    title: str
    stride: int
    values: Tensor
    reading: str
    scale: str = ""
    disagrees: bool = False


@dataclass(frozen=True)
class Lines:
    """Numbers of one image side by side, those of the student and those of the teacher for instance.

    Attributes:
        title: what they are.
        image: which of the N images they are of.
        stride: the level's.
        lines: rows of numbers, float32 [count], by the names of their owners.
        along: what is counted.
        reading: one sentence on how to read them.
    """

    title: str
    image: int
    stride: int
    lines: Mapping[str, Tensor]
    along: str
    reading: str


@dataclass(frozen=True)
class Explanation:
    """What a loss shows of N images."""

    maps: Sequence[CellMap] = ()
    lines: Sequence[Lines] = ()

    def __add__(self, other: Explanation) -> Explanation:
        return Explanation([*self.maps, *other.maps], [*self.lines, *other.lines])


@runtime_checkable
class Explaining(Protocol):
    """A formula on two maps that can say more than how they differ."""

    def explain(self, stride: int, stu_feature: Tensor, tea_feature: Tensor, *further: object) -> Explanation:
        """What it shows of the maps [N, C, H, W] of one level; ``further`` is what it is called with besides."""


def differences(pairs: Mapping[str, Sequence[LevelPair]], student: Side, teacher: Side) -> Explanation:
    """How far the two sides are apart in every cell of the paired levels of grids."""
    return Explanation(
        [
            CellMap(f"difference ({name})", pair.stride, values, _READ_DIFFERENCE, "difference", disagrees=True)
            for name, pair in _grids(pairs, student)
            if (values := difference(student.record[name][pair.student], teacher.record[name][pair.teacher]))
            is not None
        ]
    )


def difference(own: Tensor, wanted: Tensor) -> Tensor | None:
    """The distance of the channels of two levels [N, C, H, W] in each cell, over the mean length of ``wanted``.

    [N, H, W]; maps of different channels are compared by the mean of their absolute values, each over its own mean.
    ``None`` for levels of different sizes.
    """
    first, second = (level if level.ndim == 4 else level.flatten(1, 2) for level in (own, wanted))
    if first.shape[2:] != second.shape[2:]:
        return None
    if first.shape[1] == second.shape[1]:
        return length(first - second) / (length(second).mean() + EPS)
    sizes = [one.abs().mean(axis=1) for one in (first, second)]
    near, far = (size / (size.mean() + EPS) for size in sizes)
    return (near - far).abs()


def length(level: Tensor) -> Tensor:
    """The norm over channels of [N, C, H, W] or over anchors and channels of [N, A, K, H, W], [N, H, W]."""
    flat = level if level.ndim == 4 else level.flatten(1, 2)
    return paddle.sqrt((flat * flat).sum(axis=1))


def _grids(pairs: Mapping[str, Sequence[LevelPair]], side: Side) -> Iterator[tuple[str, LevelPair]]:
    for name, levels in pairs.items():
        if side.spec.entries[name].kind == "grid":
            for pair in levels:
                yield name, pair
