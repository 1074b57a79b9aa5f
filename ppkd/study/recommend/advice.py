"""The answer of a search: what to train, the evidence as a table and plots, and the commands to go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppkd.study.gains import GAIN
from ppkd.study.plot import plot_pilots
from ppkd.study.recommend.pilots import CONFIRMED, Pilots
from ppkd.study.recommend.plan import ALONE, Plan
from ppkd.study.recommend.probe import Probe
from ppkd.study.recommend.question import Question
from ppkd.study.recommend.search import Found
from ppkd.study.report import PLOT_FILE, REPORT_FILE
from ppkd.study.table import NOTHING, lines_of, milliseconds, points, signed
from ppkd.utils import itself
from ppkd.utils.atomic import atomic_open

ADVICE_FILE, NUMBERS_FILE, PILOTS_FILE = "recommend.md", "recommend.json", "pilots.png"

LEGEND = """Share: norm of the gradient of the candidate's losses on the student's neck over that of the task's, on the
first batch; cosine: of the angle between the two. AP in percent, one seed, after so many epochs of the student's own
schedule in short. A pilot ends where it is not in the better half."""


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
            of = f"{len(gain['values'])} fresh seeds, {self.plan.rungs[-1]} of {self.epochs} epochs"
            return f"{signed(gain['mean'])} points over the student alone, interval {ends} ({of})."
        if self.gains:
            return "on fresh seeds no candidate was shown to beat the student alone."
        if self.found.values:
            return "no pilot ended above the student alone."
        return "none of the slim files can be trained on this pair."


def write_advice(advice: Advice, pilots: Pilots) -> None:
    """Write ``recommend.md``, ``recommend.json``, a plot of the pilots and, for a method, its slim file."""
    folder, method = pilots.folder, advice.method
    slim, whole = pilots.recommended(method) if method is not None else (None, None)
    if advice.found.values:
        plot_pilots(_curves(advice), folder / PILOTS_FILE)
    text = _text(advice, _commands(advice.question, slim, whole))
    numbers = {
        "method": method,
        "slim": slim,
        "why": advice.why,
        "candidates": _candidates(advice),
        "gains": advice.gains,
    }
    for name, content in ((ADVICE_FILE, text), (NUMBERS_FILE, json.dumps(numbers, indent=1, allow_nan=False))):
        with atomic_open(folder / name) as stream:
            stream.write(content.encode())


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
    if rungs[-1:] == _rungs(advice)[-1:]:
        return "did not end above the student alone" if _below(advice, name) else "not among the best"
    return f"ended after {rungs[-1]} epochs: not in the better half"


def _text(advice: Advice, commands: str) -> str:
    question = advice.question
    what = f"Distil with `{advice.method}`" if advice.method is not None else "Train the student alone"
    parts = [
        f"# What to train: {Path(question.student).stem}, taught by {Path(question.teacher).stem}",
        f"**{what}**: {advice.why}",
        f"```bash\n{commands}\n```",
        "## Candidates",
        _table(advice),
        LEGEND,
    ]
    if advice.found.values:
        parts.append(f"![pilots]({PILOTS_FILE})")
    if advice.gains:
        parts += [
            "## Confirmed on fresh seeds",
            f"Seed by seed: [{CONFIRMED}/{REPORT_FILE}]({CONFIRMED}/{REPORT_FILE}).",
            f"![gains]({CONFIRMED}/{PLOT_FILE})",
        ]
        if advice.plan.rungs[-1] < advice.epochs:
            parts.append(
                f"These trainings have {advice.plan.rungs[-1]} of {advice.epochs} epochs. A longer one often leaves "
                "less to gain: repeat the comparison at full length before much depends on it."
            )
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _table(advice: Advice) -> str:
    rungs = _rungs(advice)
    head = ["candidate", "share", "cosine", "ms / step", *(f"AP after {rung}" for rung in rungs), "end"]
    cells = []
    for one in _candidates(advice):
        share, cosine = (NOTHING if one[key] is None else f"{one[key]:.2g}" for key in ("share", "cosine"))
        values = [points(one["values"].get(str(rung))) for rung in rungs]
        cells.append([one["name"], share, cosine, milliseconds(one["seconds_per_step"]), *values, one["end"]])
    return lines_of(head, cells)


def _candidates(advice: Advice) -> list[dict[str, Any]]:
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
                "values": {str(epochs): value for (of, epochs), value in advice.found.values.items() if of == name},
                "end": "" if name == ALONE else ending(advice, name),
            }
        )
    return told


def _commands(question: Question, slim: str | None, whole: str | None) -> str:
    options = ["-o", *question.options] if question.options else []
    distilled = ["--slim_config", slim] if slim is not None else []
    lines = [itself.shown("train", "-c", question.student, *distilled, "--eval", *options)]
    if whole is not None:
        lines.append(f"{itself.shown('compare', '-c', whole)}   # three seeds or more of the whole schedule")
    return "\n".join(lines)


def _curves(advice: Advice) -> dict[str, list[tuple[int, float]]]:
    rungs, values = _rungs(advice), advice.found.values
    curves = {name: [(rung, values[name, rung]) for rung in rungs if (name, rung) in values] for name in advice.probes}
    return {name: points for name, points in curves.items() if points}


def _rungs(advice: Advice) -> list[int]:
    """Those that were reached."""
    return [rung for rung in advice.plan.rungs if (ALONE, rung) in advice.found.values]


def _below(advice: Advice, name: str) -> bool:
    last = _rungs(advice)[-1]
    return advice.found.values[name, last] <= advice.found.values[ALONE, last]
