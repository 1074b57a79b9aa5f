"""The tables of the papers: one pair of detectors, one schedule, many methods of distillation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ppkd.config import Config
from ppkd.study.perform import Slots, perform_all
from ppkd.study.report import Row, write_report
from ppkd.study.runs import Run, distilled
from ppkd.study.settings import check_run, read
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
        options: what ``-o`` adds in all runs, the teacher's too.
        student_options: what ``-o`` adds in all runs of the student, another schedule for instance.
        output: the study's folder; ``output/<name of the file>`` if not given.
    """

    student: str
    teacher: Teacher
    methods: dict[str, Method]
    seeds: tuple[int, ...] = (0,)
    options: tuple[str, ...] = ()
    student_options: tuple[str, ...] = ()
    output: str = ""


def compare(cfg: Config, slots: Slots) -> Path:
    """Train and evaluate what is not finished of the comparison ``cfg``; returns the folder of the report.

    Raises:
        ConfigError: a file or option of any run is wrong; found before the first one starts.
        TrainingError: runs failed; the others are finished and the same command goes on.
    """
    settings = read(cfg, Comparison)
    if not settings.seeds or not settings.methods:
        raise ConfigError(f"{cfg.where()}: a comparison needs at least one method and one seed")
    folder = Path(settings.output or f"output/{cfg.name}")
    teacher, students = plan(settings, folder)
    for run in (teacher, *(run for runs in students.values() for run in runs)):
        check_run(run)
    figures = perform_all([teacher], folder, slots)
    by_seed = [runs[i] for i in range(len(settings.seeds)) for runs in students.values()]
    figures |= perform_all(by_seed, folder, slots)
    rows = [Row.of(TEACHER, [teacher], figures, folder)]
    rows += [Row.of(name, runs, figures, folder) for name, runs in students.items()]
    write_report(rows, folder, title=f"{Path(settings.student).stem} from {Path(settings.teacher.config).stem}")
    return folder


def plan(settings: Comparison, folder: Path) -> tuple[Run, dict[str, list[Run]]]:
    """The teacher's run, and those of the baseline and every method, a run for each seed."""
    given = settings.teacher
    teacher = Run(TEACHER, given.config, (*settings.options, *given.options), weights=given.weights)
    students: dict[str, list[Run]] = {BASELINE: [_student(settings, BASELINE, seed) for seed in settings.seeds]}
    for name, method in settings.methods.items():
        if name in (TEACHER, BASELINE):
            raise ConfigError(f"methods.{name}: a method cannot be called {name}, the table has a row of that name")
        students[name] = [
            distilled(_student(settings, name, seed), method.slim, method.options, teacher, folder)
            for seed in settings.seeds
        ]
    return teacher, students


def _student(settings: Comparison, name: str, seed: int) -> Run:
    options = (*settings.options, *settings.student_options, f"seed={seed}")
    folder = re.sub(r"[^\w.-]+", "_", name)
    return Run(f"{folder}-{seed}", settings.student, options)
