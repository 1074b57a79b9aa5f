"""The answer of a search: what to train, why, and what became of every candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppkd.study.gains import GAIN
from ppkd.study.recommend.plan import ALONE, Plan
from ppkd.study.recommend.probe import Probe
from ppkd.study.recommend.question import Question
from ppkd.study.recommend.search import Found
from ppkd.study.table import signed


@dataclass(frozen=True)
class Advice:
    """Everything that was found out.

    Attributes:
        question: what was asked.
        epochs: of the student's whole schedule.
        probes: what the candidates showed before the first step, by name; the student's is ``alone``.
        refused: why slim files do not fit.
        plan: what was tried.
        found: what the pilots came to.
        gains: of the finalists on fresh seeds, as in a comparison's ``report.json``.
    """

    question: Question
    epochs: int
    probes: Mapping[str, Probe]
    refused: Mapping[str, str]
    plan: Plan
    found: Found
    gains: Mapping[str, Any]

    @property
    def method(self) -> str | None:
        """The candidate whose interval says that it gains, the one with the largest mean; ``None``: none does."""
        gaining = [name for name, gain in self.gains.items() if gain["shown"] == GAIN]
        return max(gaining, key=lambda name: self.gains[name]["mean"], default=None)

    @property
    def why(self) -> str:
        """The reason, in a sentence."""
        if self.method is not None:
            gain = self.gains[self.method]
            ends = " to ".join(signed(gain["mean"] + side * gain["half_width"]) for side in (-1, 1))
            of = f"{len(gain['values'])} fresh seeds, {self.plan.confirmed} of {self.epochs} epochs"
            return f"{signed(gain['mean'])} points over the student alone, interval {ends} ({of})."
        if self.gains:
            return "on fresh seeds no candidate was shown to beat the student alone."
        if self.found.values:
            return "no pilot ended above the student alone."
        return "none of the slim files can be trained on this pair."


def candidates(advice: Advice) -> list[dict[str, Any]]:
    """What was found out of the student alone and of every slim file, as ``recommend.json`` has it."""
    names = dict.fromkeys([ALONE, *advice.plan.methods, *advice.plan.left_out, *advice.refused])
    told = []
    for name in names:
        probe = advice.probes.get(name)
        told.append(
            {
                "name": name,
                "share": probe and probe.share,
                "cosine": probe and probe.cosine,
                "seconds_per_step": probe and probe.seconds,
                "remedies": list(probe.remedies) if probe is not None else [],
                "values": {str(epochs): value for (of, epochs), value in advice.found.values.items() if of == name},
                "end": "" if name == ALONE else ending(advice, name),
            }
        )
    return told


def ending(advice: Advice, name: str) -> str:
    """What became of a slim file."""
    if name in advice.refused:
        return f"does not fit: {advice.refused[name]}"
    if name in advice.plan.left_out:
        return "not tried: the budget has no time for it"
    if name in advice.found.failed:
        return f"failed: {advice.found.failed[name].splitlines()[0]}"
    if name in advice.gains:
        return f"confirmed: {advice.gains[name]['shown']}"
    rungs = [rung for rung in advice.plan.rungs if (name, rung) in advice.found.values]
    if rungs[-1:] == reached(advice)[-1:]:
        return "did not end above the student alone" if _below(advice, name) else "not among the best"
    return f"ended after {rungs[-1]} epochs: not in the better half"


def reached(advice: Advice) -> list[int]:
    """The rungs, in epochs, that all pilots were compared at."""
    return [rung for rung in advice.plan.rungs if (ALONE, rung) in advice.found.values]


def _below(advice: Advice, name: str) -> bool:
    last = reached(advice)[-1]
    return advice.found.values[name, last] <= advice.found.values[ALONE, last]
