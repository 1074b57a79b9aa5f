"""The trainings of a search: pilots on a shortened schedule, and the comparison that confirms the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ppkd.config import Config, load_config
from ppkd.config.write import to_yaml
from ppkd.study.compare import compare
from ppkd.study.outcome import SHOWN
from ppkd.study.recommend.journal import Pilot
from ppkd.study.recommend.plan import ALONE, SEEDS, Plan
from ppkd.study.recommend.question import Question
from ppkd.study.recommend.shorten import shortened, shortened_slim
from ppkd.study.runs import Run
from ppkd.utils.atomic import atomic_open
from ppkd.utils.errors import DataError

PILOTS, CONFIRMED, WHOLE = "pilots", "confirmed", "whole"
SEED = 0
UNTIL = 0.7
OF_DATA = ("TrainDataset", "EvalDataset", "TestDataset", "metric", "map_type", "num_classes", "worker_num")
"""What of the student's options concerns its teacher too, which is evaluated on the same images."""


@dataclass(frozen=True)
class Pilots:
    """What is trained for ``question`` in ``folder``: the student of ``cfg``, alone and with each of ``slims``."""

    question: Question
    cfg: Config
    slims: Mapping[str, Config]
    plan: Plan
    folder: Path

    def train(self, pilot: Pilot) -> float:
        """Bring a pilot to its end, from where the same candidate's shorter one ended; its figure in percent."""
        run = self.run(pilot)
        if run.figures(self._runs) is None:
            run.perform(self._runs)
        figures = run.figures(self._runs) or {}
        headline = next((name for name in SHOWN if figures.get(name, -1) >= 0), None)
        if headline is None:
            raise DataError("EvalDataset has no box by which a pilot could be judged")
        return 100 * figures[headline]

    def run(self, pilot: Pilot) -> Run:
        """The run of a pilot."""
        name, epochs = pilot
        shorter = [rung for rung in self.plan.rungs if rung < epochs]
        return Run(
            f"{name}-{epochs}",
            self.question.student,
            (*self.options(self.plan.rungs[-1]), f"epoch={epochs}", f"snapshot_epoch={epochs}", f"seed={SEED}"),
            slim=None if name == ALONE else self.slim_file(name, self.plan.rungs[-1]),
            after=f"{name}-{shorter[-1]}" if shorter else None,
        )

    def seconds(self) -> float:
        """What all pilots have taken until now."""
        names = (ALONE, *self.plan.methods)
        return sum(self.run((name, rung)).seconds(self._runs) for name in names for rung in self.plan.rungs)

    def slim_file(self, name: str, length: int) -> str:
        """Write the slim file of a candidate for a schedule of ``length`` epochs; returns its path."""
        slim = shortened_slim(self.slims[name], length / int(self.cfg["epoch"]))
        return write_slim(slim, self.folder / f"slim-{length}" / f"{name}.yml")

    def confirm(self, finalists: Sequence[str], budget: float) -> Path:
        """Compare ``finalists`` with the student alone on fresh seeds, for ``budget`` seconds at most if it can be.

        Returns the folder of the comparison's report.
        """
        length = self.plan.confirmed
        options = [*self.options(length), f"epoch={length}", f"snapshot_epoch={length}"]
        slims = {name: self.slim_file(name, length) for name in finalists}
        file = self._comparison(CONFIRMED, slims, options, {"budget": f"{max(budget, 1):.0f}s"})
        return compare(load_config(file))

    def recommended(self, name: str) -> tuple[str, str]:
        """Write the slim file for the whole schedule, and the comparison that repeats it there; returns both paths."""
        slim = write_slim(self.slims[name], self.folder / "recommended.yml")
        return slim, self._comparison(WHOLE, {name: slim}, list(self.question.options), {})

    def _comparison(self, name: str, slims: Mapping[str, str], options: Sequence[str], more: Mapping[str, Any]) -> str:
        study: dict[str, Any] = {
            "student": self.question.student,
            "teacher": {"config": self.question.teacher, "weights": self.question.weights},
            "methods": {method: {"slim": slim} for method, slim in slims.items()},
            "seeds": list(SEEDS),
            "until": UNTIL,
            **more,
            "options": [text for text in self.question.options if text.startswith(OF_DATA)],
            "student_options": list(options),
            "output": str(self.folder / name),
        }
        file = self.folder / f"{name}.yml"
        with atomic_open(file) as stream:
            stream.write(yaml.safe_dump(study, sort_keys=False).encode())
        return str(file)

    def options(self, length: int) -> tuple[str, ...]:
        """What ``-o`` adds for a schedule of ``length`` epochs, besides ``epoch``: the question's settings, and it."""
        return (*self.question.options, *shortened(self.cfg, length))

    @property
    def _runs(self) -> Path:
        return self.folder / PILOTS


def write_slim(slim: Config, file: Path) -> str:
    """Write ``slim``; returns the path."""
    with atomic_open(file) as stream:
        stream.write(to_yaml(slim).encode())
    return str(file)
