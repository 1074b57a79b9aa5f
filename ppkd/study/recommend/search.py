"""Successive halving: all candidates for a few epochs, the better half for more, and the student alone all the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ppkd.study.recommend.journal import Journal, Pilot, Taken
from ppkd.study.recommend.plan import ALONE, Plan, survivors
from ppkd.utils.errors import PPKDError, TrainingError
from ppkd.utils.logger import get_logger

WAIT_SECONDS = 5.0
"""Between two looks at pilots of other processes."""

logger = get_logger(__name__)


@dataclass(frozen=True)
class Found:
    """What the pilots came to.

    Attributes:
        values: figures in percent of every pilot.
        failed: why candidates could not be trained.
        finalists: the best candidates of the last rung that ended above the student alone, the best one first.
    """

    values: Mapping[Pilot, float]
    failed: Mapping[str, str]
    finalists: tuple[str, ...]


def search(plan: Plan, journal: Journal, train: Callable[[Pilot], float], late: Callable[[], bool]) -> Found:
    """Work off the pilots of ``plan`` together with other processes on the same ``journal``; ``train`` gives a figure.

    Every rung is waited for: which half goes on does not depend on who came first, so a search that broke off ends as
    one that did not. A candidate whose training fails is out. No rung is begun when it is ``late``.

    Raises :class:`TrainingError` when the student alone cannot be trained.
    """
    methods: Sequence[str] = plan.methods
    last = plan.rungs[0]
    for epochs in plan.rungs:
        pilots = [(ALONE, epochs), *((name, epochs) for name in methods)]
        if not methods:
            break
        if epochs > last and late() and _unfinished(journal, pilots):
            logger.warning("Pilots end after %d epochs: half of the budget is spent", last)
            break
        journal.add(pilots)
        _work(journal, pilots, train)
        values, last = journal.values(), epochs
        ranked = sorted((name for name in methods if (name, epochs) in values), key=lambda name: -values[name, epochs])
        methods = ranked[: survivors(len(methods))]
        logger.info("After %d epochs: %s", epochs, ", ".join(f"{n} {values[n, epochs]:.1f}" for n in [ALONE, *ranked]))
    above = [name for name in methods if values[name, last] > values[ALONE, last]]
    return Found(values, journal.reasons(), tuple(above[: plan.finalists]))


def _unfinished(journal: Journal, pilots: Sequence[Pilot]) -> bool:
    values, failed = journal.values(), journal.reasons()
    return any(pilot not in values and pilot[0] not in failed for pilot in pilots)


def _work(journal: Journal, pilots: Sequence[Pilot], train: Callable[[Pilot], float]) -> None:
    """Train what waits until all ``pilots`` have ended, here or elsewhere."""
    while _unfinished(journal, pilots):
        taken = journal.take()
        if taken is None:
            time.sleep(WAIT_SECONDS)
        else:
            _train(journal, taken, train)


def _train(journal: Journal, taken: Taken, train: Callable[[Pilot], float]) -> None:
    alone = taken.pilot[0] == ALONE
    try:
        journal.finish(taken, train(taken.pilot))
    except PPKDError as error:
        journal.fail(taken, None if alone else str(error))
        if alone:
            raise TrainingError(f"the student cannot be trained alone: {error}") from error
        logger.warning("%s is out: %s", taken.pilot[0], error)
    except BaseException:
        journal.fail(taken, None)
        raise
