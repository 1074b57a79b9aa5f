"""When a comparison has seeds enough: every interval is narrow, the time is up, or the most seeds are reached."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppkd.study.durations import shown
from ppkd.study.gains import Gain
from ppkd.study.runs import Run

LEAST_SEEDS = 3
"""Two seeds agree too often by accident for an interval between them to end the search."""


@dataclass(frozen=True)
class Rule:
    """When to stop adding seeds.

    Attributes:
        until: points that half the width of every interval may have; ``None`` adds no seeds.
        budget: seconds that the runs may take, those before a stop included, divided by the number of runs at once.
        most: seeds.
    """

    until: float | None
    budget: float | None
    most: int

    def wide(self, gains: Mapping[str, Gain | None]) -> list[str]:
        """The methods whose interval is not known well enough yet."""
        if self.until is None:
            return []
        return [name for name, gain in gains.items() if gain is not None and not self._narrow(gain, self.until)]

    def refusal(self, seeds: int, spent: float, expected: float) -> str | None:
        """Why there is no seed after so many; ``None`` if there is. ``expected``: seconds that its runs would take."""
        if seeds >= self.most:
            return f"{seeds} seeds are the most that are allowed (`max_seeds`)."
        if self.budget is not None and expected and spent + expected > self.budget:
            return (
                f"The budget of {shown(self.budget)} has no room for another seed: {shown(spent)} are spent, the next "
                f"one would take about {shown(expected)}."
            )
        return None

    def reached(self) -> str:
        """What the report says when no interval is too wide."""
        return (
            "" if self.until is None else f"Every interval reaches at most {self.until:g} to either side of its mean."
        )

    @staticmethod
    def _narrow(gain: Gain, until: float) -> bool:
        return len(gain.values) >= LEAST_SEEDS and gain.half_width <= until


def seconds_spent(runs: Sequence[Run], folder: Path, at_once: int) -> float:
    """What ``runs`` have taken until now, ``at_once`` beside each other."""
    return sum(run.seconds(folder) for run in runs) / at_once


def seconds_expected(
    trained: Mapping[str, Sequence[Run]], added: Mapping[str, Sequence[Run]], folder: Path, at_once: int
) -> float:
    """What the unfinished ones of the ``added`` runs will take, by method, going by the ``trained`` ones of theirs."""
    means = {name: statistics.fmean(run.seconds(folder) for run in trained[name]) for name in added}
    left = [means[name] for name, runs in added.items() for run in runs if run.figures(folder) is None]
    return max(sum(left) / at_once, max(left, default=0.0))
