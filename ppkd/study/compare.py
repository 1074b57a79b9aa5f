"""Comparing methods of distillation with as many seeds as it takes to tell them from the student alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ppkd.config import Config
from ppkd.study.comparison import BASELINE, TEACHER, Comparison, read_comparison, rule_of, teacher_run, trials
from ppkd.study.gains import Gain
from ppkd.study.outcome import Outcome, Row, Trial, headings
from ppkd.study.perform import Slots, perform_all
from ppkd.study.report import title_of, write_comparison
from ppkd.study.runs import Run
from ppkd.study.seeds import Rule, seconds_expected, seconds_spent
from ppkd.study.settings import check_run


def compare(cfg: Config, jobs: int | None = None, gpus: Sequence[str] = ()) -> Path:
    """Train and evaluate what is not finished of the comparison ``cfg``; returns the folder of the report.

    ``jobs`` runs at once, or as many as the file says, or one on each of ``gpus``. The report is written when the seeds
    of the file are finished, and after every one that is added.

    Raises:
        ConfigError: a file or option of any run is wrong; found before the first one starts.
        TrainingError: runs failed; the others are finished and the same command goes on.
    """
    settings = read_comparison(cfg)
    rule = rule_of(settings, cfg)
    study = _Study(
        settings, Path(settings.output or f"output/{cfg.name}"), Slots(settings.jobs if jobs is None else jobs, gpus)
    )
    study.check()
    study.start()
    while (end := study.add_seed(rule)) is None:
        pass
    study.report(end)
    return study.folder


class _Study:
    """The finished runs of a comparison, whose methods may have different numbers of seeds."""

    def __init__(self, settings: Comparison, folder: Path, slots: Slots) -> None:
        self.folder = folder
        self._settings = settings
        self._slots = slots
        self._teacher = Trial(teacher_run(settings))
        self._outcomes: dict[str, list[Outcome]] = {name: [] for name in (TEACHER, BASELINE, *settings.methods)}

    def check(self) -> None:
        """Raise :class:`ConfigError` for what is wrong in the files and options of any run."""
        planned = self._of_seeds(self._settings.seeds[:1])
        for run in (self._teacher.run, *(trial.run for each in planned.values() for trial in each)):
            check_run(run)

    def start(self) -> None:
        """The teacher, and the seeds of the file."""
        planned = self._of_seeds(self._settings.seeds)
        self._slots.plan(1 + sum(map(len, planned.values())))
        self._perform({TEACHER: [self._teacher]})
        self._perform(planned)

    def add_seed(self, rule: Rule) -> str | None:
        """One more seed for the baseline and the methods that need it; or why there is none."""
        wide = rule.wide(self._gains())
        if not wide:
            return rule.reached()
        seeds = {outcome.trial.seed or 0 for outcome in self._outcomes[BASELINE]}
        added = {name: trials(self._settings, name, [max(seeds) + 1], self.folder) for name in (BASELINE, *wide)}
        refusal = rule.refusal(len(seeds), self._spent(), self._expected(added))
        if refusal is not None:
            return f"{refusal} Wider than {rule.until:g} to either side: {', '.join(wide)}."
        self.report("Seeds are being added.")
        self._slots.plan(sum(map(len, added.values())))
        self._perform(added)
        return None

    def report(self, end: str) -> None:
        """Write it; ``end`` says why there are no more seeds."""
        rows = [Row(name, tuple(outcomes)) for name, outcomes in self._outcomes.items()]
        title = title_of(self._settings.student, self._settings.teacher.config)
        write_comparison(rows[0], rows[1], rows[2:], self.folder, title, end)

    def _of_seeds(self, seeds: Sequence[int]) -> dict[str, list[Trial]]:
        return {name: trials(self._settings, name, seeds, self.folder) for name in self._outcomes if name != TEACHER}

    def _perform(self, planned: dict[str, list[Trial]]) -> None:
        """Bring all runs to their ends, seed by seed."""
        runs = sorted((trial for each in planned.values() for trial in each), key=lambda trial: trial.seed or 0)
        figures = perform_all([trial.run for trial in runs], self.folder, self._slots)
        for name, each in planned.items():
            self._outcomes[name] += [Outcome.of(trial, figures[trial.run.name], self.folder) for trial in each]

    def _gains(self) -> dict[str, Gain | None]:
        baseline = Row(BASELINE, tuple(self._outcomes[BASELINE]))
        headline = headings([baseline])[0]
        return {
            name: Row(name, tuple(self._outcomes[name])).gain(baseline, headline) for name in self._settings.methods
        }

    def _spent(self) -> float:
        return seconds_spent([run for runs in self._runs().values() for run in runs], self.folder, self._slots.count)

    def _expected(self, added: dict[str, list[Trial]]) -> float:
        planned = {name: [trial.run for trial in each] for name, each in added.items()}
        return seconds_expected(self._runs(), planned, self.folder, self._slots.count)

    def _runs(self) -> dict[str, list[Run]]:
        return {name: [outcome.trial.run for outcome in outcomes] for name, outcomes in self._outcomes.items()}
