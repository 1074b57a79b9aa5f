"""From a student, a teacher and a time to the slim file that helps, or to the student alone."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ppkd.config import Config, load_config
from ppkd.config.value import freeze
from ppkd.experiment import Experiment
from ppkd.study.comparison import stem
from ppkd.study.perform import RunsFailed
from ppkd.study.recommend.advice import Advice
from ppkd.study.recommend.answer import write_advice
from ppkd.study.recommend.candidates import Candidates, find_candidates
from ppkd.study.recommend.journal import Journal
from ppkd.study.recommend.pilots import Pilots
from ppkd.study.recommend.plan import ALONE, SEARCH_PART, Plan, confirmation_cost, make_plan
from ppkd.study.recommend.probe import Probe, judge, probe
from ppkd.study.recommend.question import Question
from ppkd.study.recommend.search import Found, search
from ppkd.study.report import NUMBERS_FILE
from ppkd.utils.atomic import atomic_open, output_folder
from ppkd.utils.errors import ConfigError, PPKDError
from ppkd.utils.files import read_json

PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class Prepared:
    """What was found out before the first pilot: what a step of every candidate shows, and what is tried."""

    probes: dict[str, Probe]
    refused: dict[str, str]
    plan: Plan


def recommend(question: Question, folder: Path) -> Advice:
    """Answer ``question`` with pilots in ``folder``; the same call goes on after a stop, and joins one that runs.

    Raises:
        ConfigError: the student's or the teacher's files are wrong, the budget is too short, or ``folder`` has the
            search of another question.
        TrainingError: the teacher cannot teach, or the student cannot be trained.
    """
    cfg = load_config(question.student, question.options)
    Experiment.parse(cfg).check()
    journal = Journal(output_folder(folder))
    candidates = find_candidates(question, cfg)
    with journal.locked("plan"):
        prepared = _prepared(question, cfg, candidates, folder)
    pilots = Pilots(question, cfg, candidates.fitting, prepared.plan, folder)
    found = Found({}, {}, ())
    if prepared.plan.methods:
        found = search(prepared.plan, journal, pilots.train, lambda: pilots.seconds() > _most(question, prepared))
    with journal.locked("confirmation"):
        found, gains = _confirmed(found, pilots)
    advice = Advice(question, int(cfg["epoch"]), prepared.probes, prepared.refused, prepared.plan, found, gains)
    with journal.locked("advice"):
        write_advice(advice, pilots)
    return advice


def _most(question: Question, prepared: Prepared) -> float:
    """Seconds after which no longer pilots are begun: the rest of the budget, or half of it, is the confirmation's."""
    tried = {name: prepared.probes[name] for name in (ALONE, *prepared.plan.methods)}
    planned = question.budget - confirmation_cost(tried, prepared.plan.confirmed, prepared.plan.finalists)
    return max(planned, SEARCH_PART * question.budget)


def _confirmed(found: Found, pilots: Pilots) -> tuple[Found, dict[str, Any]]:
    """The gains of the finalists on fresh seeds; those that cannot be trained on one of these have failed."""
    while found.finalists:
        try:
            report = pilots.confirm(found.finalists, pilots.question.budget - pilots.seconds())
        except RunsFailed as error:
            stems = {run.rpartition("-")[0] for run in error.names}
            failed = {name: "not trained to the end on a fresh seed" for name in found.finalists if stem(name) in stems}
            if not failed:
                raise
            rest = tuple(name for name in found.finalists if name not in failed)
            found = Found(found.values, {**found.failed, **failed}, rest)
        else:
            return found, read_json(report / NUMBERS_FILE)["gains"]
    return found, {}


def _prepared(question: Question, cfg: Config, candidates: Candidates, folder: Path) -> Prepared:
    file = folder / PLAN_FILE
    if file.is_file():
        return _read(file, question)
    started = time.perf_counter()
    probes, failed = _probe(cfg, candidates, folder)
    refused = {**candidates.refused, **failed}
    budget = question.budget - (time.perf_counter() - started)
    plan = make_plan(probes, int(cfg["epoch"]), budget) if len(probes) > 1 else Plan((), (), 0, 0)
    prepared = Prepared(probes, refused, plan)
    with atomic_open(file) as stream:
        stream.write(json.dumps({"question": asdict(question), **asdict(prepared)}, indent=1).encode())
    return prepared


def _probe(cfg: Config, candidates: Candidates, folder: Path) -> tuple[dict[str, Probe], dict[str, str]]:
    """What every candidate shows before its first step, the student alone first; and why some cannot begin."""
    quiet = cfg.with_item("preflight", freeze({"evaluate": False}), cfg.mark("preflight"))
    probes, failed = {ALONE: probe(quiet, None, folder / "probe")}, {}
    for name, slim in candidates.fitting.items():
        try:
            probes[name] = probe(quiet, slim, folder / "probe")
        except PPKDError as error:
            failed[name] = str(error)
    if len(probes) > 1:
        judge(cfg, candidates.fitting[next(name for name in probes if name != ALONE)], folder / "probe")
    return probes, failed


def _probe_of(stored: Mapping[str, Any]) -> Probe:
    return Probe(**{**stored, "remedies": tuple(stored["remedies"])})


def _read(file: Path, question: Question) -> Prepared:
    """What an earlier call prepared; raises :class:`ConfigError` if it was asked something else."""
    try:
        content: dict[str, Any] = read_json(file)
        asked = content["question"]
        probes = {name: _probe_of(numbers) for name, numbers in content["probes"].items()}
        stored = content["plan"]
        lists = {name: tuple(stored[name]) for name in ("methods", "rungs", "left_out")}
        plan = Plan(**lists, confirmed=stored["confirmed"], finalists=stored["finalists"])
        prepared = Prepared(probes, content["refused"], plan)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: damaged ({error}); remove that folder to search anew") from error
    now = json.loads(json.dumps(asdict(question)))
    changed = [f"{key} was {asked.get(key)}, is {now[key]}" for key in now if asked.get(key) != now[key]]
    if changed:
        raise ConfigError(
            f"{file.parent} holds another search: {'; '.join(changed)}. Give another --output, or remove it."
        )
    return prepared
