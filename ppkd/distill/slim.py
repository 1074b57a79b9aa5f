"""What a slim file for distillation says: its keys checked, its teachers, and which of them a loss learns from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from ppkd.config import Config, check, find_config, load_config, require_distillation
from ppkd.config.convert import convert
from ppkd.config.factory import plan
from ppkd.config.plugins import failures
from ppkd.config.registry import find, lookup, names
from ppkd.distill.cache.settings import CACHE, CacheSettings, cache_of
from ppkd.distill.graphs.settings import OF_GRAPH, ONNX, check_graph
from ppkd.distill.loss import DistillLoss
from ppkd.distill.model import ONLY
from ppkd.distill.paddledetection import own_form
from ppkd.distill.teacher_run import with_teacher_runs
from ppkd.utils.errors import ConfigError, nearest

COMPRESSION = ("pruner", "Pruner", "QAT")
OF_TEACHER = ("config", "weights", "amp", CACHE)
KEYS = {
    "": (
        "slim",
        "teacher",
        "teachers",
        "student",
        "losses",
        "total_weight",
        "UnlabelledDataset",
        "unlabelled_batch_size",
        "plugins",
        *COMPRESSION,
    ),
    "student": ("inherit", "teacher_targets_from"),
}
PARTS = Literal["backbone", "neck", "head"]
TYPES: dict[str, Any] = {
    "student.inherit": list[PARTS] | Literal["matching"],
    "student.teacher_targets_from": NonNegativeFloat,
    "total_weight": PositiveFloat,
    "unlabelled_batch_size": PositiveInt,
}
TEACHER_TYPES: dict[str, Any] = {"config": str, "weights": str, "amp": bool}
EXAMPLES = {"config": "a detector's yaml", "weights": "a path or URL"}


def check_slim(slim: Config, cfg: Config | None = None) -> None:
    """Check every key of a distillation file for the student of ``cfg``, and its teachers' files; nothing is built.

    Raises :class:`ConfigError` with file, line, key and the nearest valid name.
    """
    require_distillation(slim)
    given, slim = slim, own_form(with_teacher_runs(slim), cfg)
    for section, known in KEYS.items():
        _check_keys(slim, section, known)
    for key, annotation in TYPES.items():
        if slim.at(key, None) is not None:
            convert(slim.at(key), annotation, key, slim.mark(key))
    if slim.get("unlabelled_batch_size") is not None and slim.get("UnlabelledDataset") is None:
        raise ConfigError(f"{slim.where('unlabelled_batch_size')}: unlabelled_batch_size needs an UnlabelledDataset")
    for name in teacher_blocks(slim):
        _check_teacher(slim, name, written=slim is given)
    repeated_views(slim)
    _check_losses(slim)
    for name in teacher_blocks(slim):
        if not is_graph(slim, name):
            check(teacher_config(slim, name))


def teacher_blocks(slim: Config) -> dict[str, str]:
    """The teachers by name, each with the dotted key of its settings; the first one is the default of all losses.

    ``teacher: {config, weights}`` is one teacher, ``teachers: {big: {...}, sibling: {...}}`` are several. Raises
    :class:`ConfigError` where both are given.
    """
    several = slim.get("teachers")
    if several is None:
        return {ONLY: "teacher"}
    if "teacher" in slim:
        raise ConfigError(f"{slim.where('teachers')}: there is `teacher` too: put it among the teachers, under a name")
    if not isinstance(several, Mapping) or not several:
        raise ConfigError(f"{slim.where('teachers')}: teachers must be a mapping: {{name: {{config, weights}}, ...}}")
    return {name: f"teachers.{name}" for name in several}


def is_graph(slim: Config, name: str) -> bool:
    """Whether the teacher of that name is an ONNX graph: ``teacher: {onnx, entries}``."""
    return slim.at(f"{teacher_blocks(slim)[name]}.{ONNX}", None) is not None


def caches(slim: Config) -> dict[str, CacheSettings]:
    """The settings of every teacher whose answers are recorded, by its name."""
    blocks = {name: block for name, block in teacher_blocks(slim).items() if isinstance(slim.at(block, None), Config)}
    return {name: found for name, block in blocks.items() if (found := cache_of(slim, block)) is not None}


def repeated_views(slim: Config) -> int | None:
    """How many views of every image the run has, None where each epoch draws anew.

    Raises :class:`ConfigError` where caches disagree, or there are unlabelled images, which have no views.
    """
    found = caches(slim)
    if len({settings.views for settings in found.values()}) > 1:
        raise ConfigError(f"{slim.where('teachers')}: cache.views must be the same for all teachers that have a cache")
    if found and slim.get("UnlabelledDataset") is not None:
        raise ConfigError(
            f"{slim.where('UnlabelledDataset')}: a teacher with a cache records labelled images alone: leave "
            "UnlabelledDataset out, or write a COCO json for its pictures by `ppkd label`"
        )
    if len({settings.folder for settings in found.values()}) < len(found):
        raise ConfigError(f"{slim.where('teachers')}: cache.dir must be another one for every teacher")
    return next((settings.views for settings in found.values()), None)


def teacher_config(slim: Config, name: str) -> Config:
    """The configuration of a teacher, from its file or, in PaddleDetection's form, as the slim file holds it."""
    key = f"{teacher_blocks(slim)[name]}.config"
    config = slim.at(key)
    return config if isinstance(config, Config) else load_config(resolve(config, slim, key))


def teacher_of(slim: Config, loss: str) -> str:
    """The name of the teacher that a loss learns from: its own key ``teacher``, else the first.

    Raises :class:`ConfigError` for a name that no teacher has.
    """
    known, settings = list(teacher_blocks(slim)), slim["losses"][loss]
    chosen = settings.get("teacher", known[0])
    if chosen not in known:
        raise ConfigError(
            f"{settings.where('teacher')}: losses.{loss}.teacher is {chosen}, but the teachers are {', '.join(known)}"
            f"{nearest(str(chosen), known)}"
        )
    return chosen


def loss_spec(slim: Config, name: str) -> Config:
    """The settings of a loss with its ``type`` under ``name``, as :func:`ppkd.config.build` wants it."""
    where = f"{slim.where(f'losses.{name}')}: losses.{name}"
    settings = slim["losses"][name]
    if not isinstance(settings, Config) or not isinstance(settings.get("type"), str):
        raise ConfigError(f"{where} needs a type, e.g. {{type: OutputL2, weight: 100}}")
    kind = find(settings["type"])
    if kind is None or not issubclass(kind.cls, DistillLoss):
        known = _loss_types()
        raise ConfigError(
            f"{where}.type: {settings['type']} is not a distillation loss{nearest(settings['type'], known)}; "
            f"there are {', '.join(known)}{failures()}"
        )
    return settings.without("type", "teacher").with_item("name", settings["type"], settings.mark("type"))


def resolve(path: str, slim: Config, key: str = "teacher.config") -> str:
    """``path`` as the user sees it: from the current folder, else from the slim file's folder or one above it; or the
    shipped configuration of that name.
    """
    folders = [Path(), *Path(slim.path).resolve().parents]
    return find_config(path, folders=folders, asker=slim.mark(key), noun="the teacher's configuration")


def _check_keys(slim: Config, section: str, known: tuple[str, ...]) -> None:
    block = slim.at(section, {}) if section else slim
    if not isinstance(block, Mapping):
        raise ConfigError(f"{slim.where(section)}: {section} must be a mapping with {', '.join(known)}")
    for key in block:
        if key not in known:
            path = f"{section}.{key}" if section else key
            raise ConfigError(
                f"{slim.where(path)}: {path} is not a key of a slim file{nearest(key, known)}; "
                f"known here: {', '.join(known)}"
            )


def _check_teacher(slim: Config, name: str, *, written: bool) -> None:
    """Check the settings of a teacher; its configuration is not a file's name unless ``written`` in ppkd's form."""
    block = teacher_blocks(slim)[name]
    if is_graph(slim, name):
        _check_keys(slim, block, (*OF_GRAPH, CACHE))
        check_graph(slim, block)
        return
    _check_keys(slim, block, OF_TEACHER)
    for key, example in EXAMPLES.items():
        if slim.at(f"{block}.{key}", None) is None:
            path = f"{block}.{key}"
            raise ConfigError(f"{slim.where()}: {path} is missing: give {example}, here or with -o slim.{path}=...")
    for key, annotation in TEACHER_TYPES.items():
        path = f"{block}.{key}"
        if slim.at(path, None) is not None and (key != "config" or written):
            convert(slim.at(path), annotation, path, slim.mark(path))


def _check_losses(slim: Config) -> None:
    losses = slim.at("losses", None)
    if not isinstance(losses, Mapping) or not losses:
        raise ConfigError(
            f"{slim.where()}: losses is missing: give at least one, e.g. losses: {{l2: {{type: OutputL2}}}}"
        )
    for name in losses:
        plan(slim, loss_spec(slim, name), given={"student": None, "teacher": None})
        teacher_of(slim, name)


def _loss_types() -> list[str]:
    """The names of all distillation losses, sorted."""
    return [name for name in names() if issubclass(lookup(name, "").cls, DistillLoss)]
