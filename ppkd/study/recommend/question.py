"""What ``ppkd recommend`` is asked: a student, a trained teacher, slim files to choose from, a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ppkd.config import Config, load_config, require_distillation
from ppkd.config.value import Mark
from ppkd.distill.slim import resolve, teacher_blocks
from ppkd.distill.teacher_run import CONFIG, teacher_block, with_teacher_runs
from ppkd.utils.errors import ConfigError
from ppkd.utils.shipped import SUFFIX, home

FOLDERS = ("slim/recipes", "slim/distill")
"""Where the slim files are when none are named: the first of these folders that holds any."""
_ASKED = Mark("--teacher")


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        student: the student's file, with its schedule and data.
        options: what ``-o`` adds to it.
        teacher: the teacher's file.
        weights: its trained weights.
        recipes: slim files to choose from.
        budget: seconds of computing on one machine.
    """

    student: str
    options: tuple[str, ...]
    teacher: str
    weights: str
    recipes: tuple[str, ...]
    budget: float


@dataclass(frozen=True)
class NamedTeacher:
    """A teacher: its file, its weights, and the slim file that named it, if one did."""

    config: str
    weights: str
    slim: str | None = None


def find_teacher(named: str, weights: str | None) -> NamedTeacher:
    """The teacher that ``named`` means: the folder of its run, its own file (then with ``weights``), or a slim file.

    Raises :class:`ConfigError` when it names no trained detector, or several.
    """
    if Path(named).is_dir():
        block = teacher_block(Path(named), _ASKED)
        return NamedTeacher(str(Path(named) / CONFIG), weights or block["weights"])
    cfg = load_config(named)
    if "slim" in cfg:
        return _of_slim(cfg, named, weights)
    if weights is None:
        raise ConfigError(
            f"{named}: a teacher is trained: give --teacher_weights too, or name the folder of its run (train it with "
            f"`ppkd train -c {named}`)"
        )
    return NamedTeacher(named, weights)


def find_recipes(named: Sequence[str], also: str | None) -> tuple[str, ...]:
    """The slim files ``named`` (files, or folders of them), else the shipped ones; and the one that is ``also`` given.

    Raises :class:`ConfigError` when a folder has none.
    """
    folders = [str(home() / folder) for folder in FOLDERS]
    places = named or [next(folder for folder in folders if list(Path(folder).glob(f"*{SUFFIX}")))]
    found = [file for place in places for file in _files(place)]
    return tuple(dict.fromkeys([*found, *([also] if also else [])]))


def _files(place: str) -> list[str]:
    if not Path(place).is_dir():
        return [place]
    files = sorted(str(file) for file in Path(place).glob(f"*{SUFFIX}"))
    if not files:
        raise ConfigError(f"{place}: there is no slim file (*{SUFFIX}) in this folder")
    return files


def _of_slim(slim: Config, named: str, weights: str | None) -> NamedTeacher:
    require_distillation(slim)
    slim = with_teacher_runs(slim)
    blocks = teacher_blocks(slim)
    if len(blocks) > 1:
        raise ConfigError(f"{named}: it has the teachers {', '.join(blocks)}; name one by --teacher")
    block = next(iter(blocks.values()))
    config, known = slim.at(f"{block}.config", None), weights or slim.at(f"{block}.weights", None)
    path = config.path if isinstance(config, Config) else config and resolve(config, slim, f"{block}.config")
    if not path or not known:
        raise ConfigError(
            f"{named}: {block} needs config and weights, e.g. --teacher TEACHER.yml --teacher_weights PATH"
        )
    return NamedTeacher(str(path), str(known), named)
