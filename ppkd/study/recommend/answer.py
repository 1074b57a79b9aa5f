"""The answer as files: a page with the evidence and the commands to go on, its numbers, plots, and a slim file."""

from __future__ import annotations

import json

from ppkd.study.plot import plot_pilots
from ppkd.study.recommend.advice import Advice, candidates, reached
from ppkd.study.recommend.pilots import CONFIRMED, Pilots
from ppkd.study.recommend.question import Question
from ppkd.study.report import PLOT_FILE, REPORT_FILE, title_of
from ppkd.study.table import NOTHING, Grid, lines_of, milliseconds, points
from ppkd.utils import itself
from ppkd.utils.atomic import atomic_open

ADVICE_FILE, NUMBERS_FILE, PILOTS_FILE = "recommend.md", "recommend.json", "pilots.png"
LEGEND = """Share: norm of the gradient of the candidate's strongest loss on the student's neck over that of the task's,
on the first batch; cosine: of the angle between the two. AP in percent, one seed, after so many epochs of the student's
own schedule in short. A pilot ends where it is not in the better half."""


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
        "candidates": candidates(advice),
        "gains": advice.gains,
    }
    for name, content in ((ADVICE_FILE, text), (NUMBERS_FILE, json.dumps(numbers, indent=1, allow_nan=False))):
        with atomic_open(folder / name) as stream:
            stream.write(content.encode())


def _text(advice: Advice, commands: str) -> str:
    question = advice.question
    what = f"Distil with `{advice.method}`" if advice.method is not None else "Train the student alone"
    parts = [
        f"# What to train: {title_of(question.student, question.teacher)}",
        f"**{what}**: {advice.why}",
        f"```bash\n{commands}\n```",
        "## Candidates",
        _table(advice),
        LEGEND,
    ]
    remedies = [f"- `{one['name']}`: {text}" for one in candidates(advice) for text in one["remedies"]]
    if remedies:
        parts.append("Out of proportion on the first batch, which other settings may mend:\n\n" + "\n".join(remedies))
    if advice.found.values:
        parts.append(f"![pilots]({PILOTS_FILE})")
    if advice.gains:
        parts += [
            "## Confirmed on fresh seeds",
            f"Seed by seed: [{CONFIRMED}/{REPORT_FILE}]({CONFIRMED}/{REPORT_FILE}).",
            f"![gains]({CONFIRMED}/{PLOT_FILE})",
        ]
        if advice.plan.confirmed < advice.epochs:
            parts.append(
                f"These trainings have {advice.plan.confirmed} of {advice.epochs} epochs. A longer one often leaves "
                "less to gain: repeat the comparison at full length before much depends on it."
            )
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _table(advice: Advice) -> str:
    rungs = reached(advice)
    head = ["candidate", "share", "cosine", "ms / step", *(f"AP after {rung}" for rung in rungs), "end"]
    cells = []
    for one in candidates(advice):
        share, cosine = (NOTHING if one[key] is None else f"{one[key]:.2g}" for key in ("share", "cosine"))
        values = [points(one["values"].get(str(rung))) for rung in rungs]
        cells.append([one["name"], share, cosine, milliseconds(one["seconds_per_step"]), *values, one["end"]])
    return lines_of(Grid(head, cells))


def _commands(question: Question, slim: str | None, whole: str | None) -> str:
    options = ["-o", *question.options] if question.options else []
    distilled = ["--slim_config", slim] if slim is not None else []
    lines = [itself.shown("train", "-c", question.student, *distilled, "--eval", *options)]
    if whole is not None:
        lines.append(f"{itself.shown('compare', '-c', whole)}   # three seeds or more of the whole schedule")
    return "\n".join(lines)


def _curves(advice: Advice) -> dict[str, list[tuple[int, float]]]:
    rungs, values = reached(advice), advice.found.values
    curves = {name: [(rung, values[name, rung]) for rung in rungs if (name, rung) in values] for name in advice.probes}
    return {name: points for name, points in curves.items() if points}
