"""Which slim files fit a student and its teacher, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppkd.config import Config, load_config
from ppkd.config.value import Mark, freeze
from ppkd.distill.build import build_losses, check_slim
from ppkd.models import build_detector
from ppkd.structures import DetectorSpec
from ppkd.study.recommend.plan import ALONE
from ppkd.study.recommend.question import Question
from ppkd.utils.errors import ConfigError, PPKDError, SpecError

_TAUGHT = Mark("--teacher")


@dataclass(frozen=True)
class Candidates:
    """Slim files with the pair's teacher by name, and the reasons against the others."""

    fitting: dict[str, Config]
    refused: dict[str, str]


def find_candidates(question: Question, cfg: Config) -> Candidates:
    """Ask every slim file of ``question`` whether its losses can be built for the student of ``cfg`` and the teacher.

    Nothing is loaded: the specs of both detectors decide, as for a training. Raises :class:`PPKDError` when the student
    or the teacher itself is wrong.
    """
    student = build_detector(cfg).spec()
    teacher = build_detector(load_config(question.teacher)).spec()
    found = Candidates({}, {})
    for file, name in named(question.recipes).items():
        try:
            slim = taught(load_config(file), question)
            _check(slim, cfg, student, teacher)
            _refuse_twin(slim, found.fitting)
        except PPKDError as error:
            found.refused[name] = str(error.__cause__ if isinstance(error.__cause__, SpecError) else error)
        else:
            found.fitting[name] = slim
    return found


def named(files: Sequence[str]) -> dict[str, str]:
    """The name of each of ``files``: without its ending, and with its folder's where another one has the same."""
    names: dict[str, str] = {}
    for file in files:
        path = Path(file)
        taken = {*names.values(), ALONE}
        names[file] = path.stem if path.stem not in taken else f"{path.parent.name}_{path.stem}"
    return names


def taught(slim: Config, question: Question) -> Config:
    """``slim`` with the teacher of ``question`` in place of its own.

    Raises :class:`ConfigError` where losses learn from teachers of their own.
    """
    if slim.get("teachers") is not None:
        raise ConfigError("it has several teachers, and one is given")
    block = freeze({"config": question.teacher, "weights": question.weights}, _TAUGHT)
    return slim.with_item("teacher", block, _TAUGHT)


def _check(slim: Config, cfg: Config, student: DetectorSpec, teacher: DetectorSpec) -> None:
    check_slim(slim, cfg)
    build_losses(slim, student, teacher)


def _refuse_twin(slim: Config, known: Mapping[str, Config]) -> None:
    """Raise :class:`ConfigError` where another file says the same, its own teacher aside."""
    for name, other in known.items():
        if slim.to_dict() == other.to_dict():
            raise ConfigError(f"it says the same as {name}")
