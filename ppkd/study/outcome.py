"""What a study's finished runs came to: the figures of every run, and the runs of one method together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ppkd.engine.hooks.results import BATCH_COST, FILE_NAME
from ppkd.report.curves import read_results
from ppkd.study.gains import Gain
from ppkd.study.jumps import run_jumped
from ppkd.study.runs import Run

SHOWN = ("AP", "AP50", "AP75", "APs", "APm", "APl", "mAP")


@dataclass(frozen=True)
class Trial:
    """A run of a study, and what it is besides a method's: its ``seed``, and ``threads`` where the study names them."""

    run: Run
    seed: int | None = None

    @property
    def key(self) -> tuple[int | None, int | None]:
        """What a run of a method and one of the baseline must have in common to be compared."""
        return self.seed, self.run.threads


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes:
        trial: which one.
        figures: in percent; ``None`` for what the evaluation set has no boxes for.
        seconds_per_step: median duration of a training step; ``None`` where it was not trained here.
        seconds: its training and evaluation took.
        jumped: whether its loss did (:mod:`ppkd.study.jumps`); ``None`` where that cannot be told.
    """

    trial: Trial
    figures: Mapping[str, float | None]
    seconds_per_step: float | None = None
    seconds: float = 0.0
    jumped: bool | None = None

    @classmethod
    def of(cls, trial: Trial, figures: Mapping[str, float], folder: Path) -> Self:
        """The outcome of a run of the study at ``folder``; ``figures`` are in 0..1, -1 where nothing was measured."""
        own = folder / trial.run.name
        percent = {name: 100 * value if value >= 0 else None for name, value in figures.items()}
        return cls(trial, percent, _step_seconds(own), trial.run.seconds(folder), run_jumped(own))


@dataclass(frozen=True)
class Row:
    """A line of a table: the ``outcomes`` of the runs of one method, which the table calls ``name``."""

    name: str
    outcomes: tuple[Outcome, ...]

    def percents(self, figure: str) -> list[float]:
        """``figure`` of each run that measured it."""
        return [value for outcome in self.outcomes if (value := outcome.figures.get(figure)) is not None]

    def gain(self, baseline: Row, figure: str) -> Gain | None:
        """Points of ``figure`` above the baseline's with the same seed and threads; ``None`` without a common run.

        Runs of one seed with several numbers of threads share weights and batches: their mean is one observation.
        """
        theirs = {outcome.trial.key: outcome.figures.get(figure) for outcome in baseline.outcomes}
        by_seed: dict[int | None, list[float]] = {}
        for outcome in self.outcomes:
            own, other = outcome.figures.get(figure), theirs.get(outcome.trial.key)
            if own is not None and other is not None:
                by_seed.setdefault(outcome.trial.seed, []).append(own - other)
        return Gain.of([statistics.fmean(each) for each in by_seed.values()]) if by_seed else None

    @property
    def step_seconds(self) -> float | None:
        """The median duration of a training step over the runs."""
        known = [outcome.seconds_per_step for outcome in self.outcomes if outcome.seconds_per_step is not None]
        return statistics.median(known) if known else None


def headings(rows: Sequence[Row]) -> list[str]:
    """The figures that the runs have, in the order of the papers' tables; the first one is the headline."""
    return [figure for figure in SHOWN if figure in rows[0].outcomes[0].figures]


def _step_seconds(folder: Path) -> float | None:
    file = folder / FILE_NAME
    if not file.is_file():
        return None
    costs = read_results(file).get(BATCH_COST)
    return statistics.median(costs) if costs else None
