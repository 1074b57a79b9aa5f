"""Which layers stay in float: those whose quantisation moves the outputs of the heads most."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        quantised: names of the nodes that are quantised.
        left: names of those left in float, the most sensitive first.
        before: the difference with all of them quantised.
        after: the difference with ``quantised``.
    """

    quantised: tuple[str, ...]
    left: tuple[str, ...]
    before: float
    after: float


def choose(
    candidates: Sequence[str], difference: Callable[[Collection[str]], float], *, bound: float, most: int
) -> Choice:
    """Leave the nodes of ``candidates`` out, worst first, until the ``difference`` of the rest is at most ``bound``.

    The worst is the one that makes the largest difference where it alone is quantised. At most ``most`` are left out:
    if the bound is not met with so many, as many as gave the smallest difference.
    """
    before = difference(candidates)
    if before <= bound or not most:
        return Choice(tuple(candidates), (), before, before)
    alone = {name: difference([name]) for name in candidates}
    worst = sorted(candidates, key=lambda name: -alone[name])[:most]
    tried = [Choice(tuple(candidates), (), before, before)]
    for count in range(1, len(worst) + 1):
        left = tuple(worst[:count])
        rest = tuple(name for name in candidates if name not in left)
        tried.append(Choice(rest, left, before, difference(rest)))
        if tried[-1].after <= bound:
            return tried[-1]
    return min(tried, key=lambda each: each.after)
