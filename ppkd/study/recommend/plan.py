"""How long pilots are and how many candidates they try, so that search and confirmation fit into the budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from ppkd.study.durations import shown
from ppkd.study.recommend.probe import Probe
from ppkd.utils.errors import ConfigError

ALONE = "alone"
"""The student without a teacher, as a candidate."""
HALVINGS = 2
FINALISTS = 2
SEEDS = (1, 2, 3)
"""Of the confirmation; the pilots' seed, 0, chose the finalists and says nothing about them any more."""
LEAST_EPOCHS, LEAST_PART = 4, 0.25
"""A pilot shorter than that, or than this part of the schedule, is too far from a training to speak for it."""
START_SECONDS = 15.0
"""Of a pilot beyond its steps: two processes that start, one to train and one to evaluate."""
SEARCH_PART = 0.5
"""Of the budget, for the pilots; the rest is for what confirms them."""
USUAL_SHARE = (0.02, 2.0)
"""Shares of the gradient with which methods gain; those beyond are tried last."""


@dataclass(frozen=True)
class Plan:
    """What is tried.

    Attributes:
        methods: the candidates' names, the most promising ones first.
        rungs: epochs after which the worse half ends; the last is a whole pilot.
        confirmed: epochs of the trainings that confirm the finalists.
        finalists: how many of the best candidates are confirmed.
        left_out: candidates that the budget has no time for.
    """

    methods: tuple[str, ...]
    rungs: tuple[int, ...]
    confirmed: int
    finalists: int
    left_out: tuple[str, ...] = ()


def make_plan(probes: Mapping[str, Probe], epochs: int, budget: float) -> Plan:
    """As many candidates as can be tried in half of ``budget`` seconds, and the longest trainings that fit the rest.

    A confirmation of the whole schedule of ``epochs`` comes before longer pilots: a short one exaggerates what a
    teacher gives. ``probes`` has the student as ``alone``. Raises :class:`ConfigError` when not even one candidate can
    be tried.
    """
    ordered = sorted((name for name in probes if name != ALONE), key=lambda name: _oddness(probes[name]))
    least = min(max(LEAST_EPOCHS, math.ceil(LEAST_PART * epochs)), epochs)
    for count, finalists in product(range(len(ordered), 0, -1), range(FINALISTS, 0, -1)):
        chosen = {name: probes[name] for name in (ALONE, *ordered[:count])}
        found = _lengths(chosen, range(least, epochs + 1), budget, min(finalists, count))
        if found is not None:
            pilot, confirmed = found
            finalists = min(finalists, count)
            return Plan(tuple(ordered[:count]), rungs_of(pilot), confirmed, finalists, tuple(ordered[count:]))
    one = {name: probes[name] for name in (ALONE, *ordered[:1])}
    shortest = shown(search_cost(one, least) + confirmation_cost(one, least, 1))
    raise ConfigError(
        f"a budget of {shown(budget)} is too short: {least} of the {epochs} epochs for one candidate, and what "
        f"confirms it, take about {shortest}; give a longer --budget, or -o with fewer images or epochs"
    )


def _lengths(probes: Mapping[str, Probe], lengths: range, budget: float, finalists: int) -> tuple[int, int] | None:
    """Epochs of the pilots of ``probes`` and of what confirms the ``finalists``; ``None`` when it is too much."""
    least = search_cost(probes, lengths[0])
    if least > SEARCH_PART * budget and len(probes) > 2:
        return None
    costs = {length: confirmation_cost(probes, length, finalists) for length in lengths}
    fitting = [length for length in lengths if least + costs[length] <= budget]
    if not fitting:
        return None
    confirmed = fitting[-1]
    left = budget - costs[confirmed]
    return max(length for length in lengths if length <= confirmed and search_cost(probes, length) <= left), confirmed


def rungs_of(length: int) -> tuple[int, ...]:
    """The epochs at which pilots of ``length`` epochs are compared: a quarter, a half, the end."""
    return tuple(sorted({max(1, round(length / 2**halving)) for halving in range(HALVINGS + 1)}))


def survivors(count: int) -> int:
    """How many of ``count`` candidates go on after a rung."""
    return max(math.ceil(count / 2), min(count, FINALISTS))


def search_cost(probes: Mapping[str, Probe], length: int) -> float:
    """Seconds for the pilots of ``length`` epochs of all ``probes``."""
    alone, slowest = probes[ALONE], _slowest(probes)
    count, before, total = len(probes) - 1, 0, 0.0
    for epochs in rungs_of(length):
        total += _seconds(alone, alone.seconds, epochs - before) + count * _seconds(alone, slowest, epochs - before)
        count, before = survivors(count), epochs
    return total


def confirmation_cost(probes: Mapping[str, Probe], length: int, finalists: int) -> float:
    """Seconds for the first seeds of so many finalists and the student alone, of ``length`` epochs."""
    alone = probes[ALONE]
    one = _seconds(alone, alone.seconds, length) + finalists * _seconds(alone, _slowest(probes), length)
    return len(SEEDS) * one


def _slowest(probes: Mapping[str, Probe]) -> float:
    return max(probe.seconds for probe in probes.values())


def _seconds(alone: Probe, step: float, epochs: int) -> float:
    """Of ``epochs`` and one evaluation, whose batches take a third of a training step without a teacher."""
    return START_SECONDS + epochs * alone.steps * step + alone.evaluated * alone.seconds / 3


def _oddness(probe: Probe) -> float:
    """How far, in powers of ten, the gradient's share is outside the usual range; 1 where it is not known."""
    if probe.share is None:
        return 1.0
    low, high = USUAL_SHARE
    share = max(probe.share, 1e-6)
    return max(math.log10(low / share), math.log10(share / high), 0.0)
