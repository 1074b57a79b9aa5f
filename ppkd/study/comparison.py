"""What a comparison is: one pair of detectors, one schedule, many methods; and the runs that it means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ppkd.config import Config
from ppkd.study.durations import seconds_of
from ppkd.study.outcome import Trial
from ppkd.study.runs import Run, distilled
from ppkd.study.seeds import Rule
from ppkd.study.settings import read
from ppkd.utils.errors import ConfigError

TEACHER = "teacher"
BASELINE = "baseline"


@dataclass(frozen=True)
class Teacher:
    """The detector that teaches; trained first, with ``options``, unless there are ``weights``."""

    config: str
    weights: str | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """A slim file, and what ``-o`` adds in this method's runs."""

    slim: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What ``ppkd compare`` reads.

    Attributes:
        student: the student's file, with its schedule.
        teacher: the detector that teaches in every method.
        methods: by the name that the table shows.
        seeds: one run of the baseline and of every method for each.
        threads: numbers of threads; one run of each seed for each, in the baseline and in every method.
        until: points; seeds are added to a method until half its interval's width is at most this.
        budget: time that all runs may take, ``3h`` say; seeds beyond it are not added.
        max_seeds: seeds beyond this number are not added.
        jobs: runs at once.
        options: what ``-o`` adds in all runs, the teacher's too.
        student_options: what ``-o`` adds in all runs of the student, another schedule for instance.
        output: the study's folder; ``output/<name of the file>`` if not given.
    """

    student: str
    teacher: Teacher
    methods: dict[str, Method]
    seeds: tuple[int, ...] = (0,)
    threads: tuple[int, ...] = ()
    until: float | None = None
    budget: str | None = None
    max_seeds: int = 10
    jobs: int = 1
    options: tuple[str, ...] = ()
    student_options: tuple[str, ...] = ()
    output: str = ""


def read_comparison(cfg: Config) -> Comparison:
    """The settings of ``cfg``; raises :class:`ConfigError` with file and line for one that makes no comparison."""
    settings = read(cfg, Comparison)
    if not settings.seeds or not settings.methods:
        raise ConfigError(f"{cfg.where()}: a comparison needs at least one method and one seed")
    for key in ("seeds", "threads"):
        if len(set(getattr(settings, key))) < len(getattr(settings, key)):
            raise ConfigError(f"{cfg.where(key)}: {key} has a number twice; its runs would be the same")
    for key, numbers in (("jobs", [settings.jobs]), ("threads", settings.threads)):
        if min(numbers, default=1) < 1:
            raise ConfigError(f"{cfg.where(key)}: {key} must be 1 or more")
    for name in settings.methods:
        if name in (TEACHER, BASELINE):
            raise ConfigError(f"methods.{name}: a method cannot be called {name}, the table has a row of that name")
    return settings


def rule_of(settings: Comparison, cfg: Config) -> Rule:
    """When ``settings``, read from ``cfg``, add no more seeds.

    Raises :class:`ConfigError` for a rule without meaning.
    """
    if settings.until is None and settings.budget is not None:
        raise ConfigError(f"{cfg.where('budget')}: budget bounds the seeds that `until` adds; give until too, 0.7 say")
    if settings.until is not None and settings.until <= 0:
        raise ConfigError(f"{cfg.where('until')}: until is half the width of an interval in points, above 0")
    budget = None if settings.budget is None else seconds_of(settings.budget, f"{cfg.where('budget')}: budget")
    return Rule(settings.until, budget, settings.max_seeds)


def teacher_run(settings: Comparison) -> Run:
    """The teacher's run."""
    given = settings.teacher
    return Run(TEACHER, given.config, (*settings.options, *given.options), weights=given.weights)


def trials(settings: Comparison, name: str, seeds: Sequence[int], folder: Path) -> list[Trial]:
    """The runs of the method ``name``, or of the baseline, with ``seeds`` in the study at ``folder``."""
    return [_trial(settings, name, seed, count, folder) for seed in seeds for count in settings.threads or (None,)]


def stem(name: str) -> str:
    """What the names of a method's runs begin with, before a dash."""
    return re.sub(r"[^\w.-]+", "_", name)


def _trial(settings: Comparison, name: str, seed: int, threads: int | None, folder: Path) -> Trial:
    own = f"{stem(name)}-{seed}" if threads is None else f"{stem(name)}-{seed}-t{threads}"
    options = (*settings.options, *settings.student_options, f"seed={seed}")
    run = Run(own, settings.student, options, threads=threads)
    if name != BASELINE:
        method = settings.methods[name]
        run = distilled(run, method.slim, method.options, teacher_run(settings), folder)
    return Trial(run, seed)
