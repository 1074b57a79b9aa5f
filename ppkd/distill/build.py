"""A slim file and a student's configuration -> a distillation model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveInt

from ppkd.config import Config, build, check, find_config, load_config
from ppkd.config.convert import convert
from ppkd.config.factory import plan
from ppkd.config.registry import find, lookup, names
from ppkd.distill.loss import DistillLoss
from ppkd.distill.model import DistillModel
from ppkd.distill.paddledetection import at_levels, left_alone, own_form
from ppkd.distill.teacher import FrozenTeacher
from ppkd.models import build_detector
from ppkd.models.detectors.detector import Detector
from ppkd.models.weights import load_pretrain, load_weights
from ppkd.structures import DetectorSpec
from ppkd.utils.errors import ConfigError, SpecError, nearest
from ppkd.utils.logger import get_logger

KEYS = {
    "": ("slim", "teacher", "student", "losses", "UnlabelledDataset", "unlabelled_batch_size"),
    "teacher": ("config", "weights", "amp"),
    "student": ("inherit",),
}
PARTS = Literal["backbone", "neck", "head"]
TYPES: dict[str, Any] = {
    "teacher.config": str,
    "teacher.weights": str,
    "teacher.amp": bool,
    "student.inherit": list[PARTS] | Literal["matching"],
    "unlabelled_batch_size": PositiveInt,
}

logger = get_logger(__name__)


def build_distiller(cfg: Config, slim: Config, *, pretrain: str | None = None) -> DistillModel:
    """The student of ``cfg``, the teacher and the losses of ``slim``, introduced to each other.

    The student's weights are random, or those of ``pretrain`` (see :func:`ppkd.models.weights.load_pretrain`), except
    for what ``student.inherit`` copies from the teacher: whole parts, which win over ``pretrain``, or with ``matching``
    what fits outside the backbone, over which ``pretrain`` wins. ``slim`` may have PaddleDetection's form.

    Raises:
        ConfigError: a key of the slim file is unknown, missing or wrong.
        SpecError: a loss consumes what the student or the teacher does not record.
        WeightsError: the teacher's weights are missing, damaged or of another model.
    """
    check_slim(slim, cfg)
    student = build_detector(cfg)
    slim = _for_student(slim, cfg, student.spec())
    teacher = _build_teacher(slim)
    inherited = slim.at("student.inherit", None) or ()
    if inherited == "matching":
        _inherit_matching(student, teacher)
    if pretrain:
        logger.info("Pretrained weights: %s", load_pretrain(student, pretrain))
    losses = build_losses(slim, student.spec(), teacher.spec())
    for part in inherited if inherited != "matching" else ():
        _inherit(student, teacher, part, slim)
    consumed = {entry for loss in losses.values() for entry in loss.consumes}
    frozen = FrozenTeacher(teacher, consumed, casts=bool(slim.at("teacher.amp", None)))
    return DistillModel(student, frozen, losses)


def check_slim(slim: Config, cfg: Config | None = None) -> None:
    """Check every key of a distillation file for the student of ``cfg``, and its teacher's file; nothing is built.

    Raises :class:`ConfigError` with file, line, key and the nearest valid name.
    """
    theirs, slim = slim, own_form(slim, cfg)
    _check_keys(slim)
    if slim.at("slim", None) != "Distill":
        raise ConfigError(f"{slim.where('slim')}: a distillation file says `slim: Distill`")
    for key, example in (("teacher.config", "a detector's yaml"), ("teacher.weights", "a path or URL")):
        if slim.at(key, None) is None:
            raise ConfigError(f"{slim.where()}: {key} is missing: give {example}, here or with -o slim.{key}=...")
    for key, annotation in TYPES.items():
        written = key != "teacher.config" or slim is theirs
        if written and slim.at(key, None) is not None:
            convert(slim.at(key), annotation, key, slim.mark(key))
    if slim.get("unlabelled_batch_size") is not None and slim.get("UnlabelledDataset") is None:
        raise ConfigError(f"{slim.where('unlabelled_batch_size')}: unlabelled_batch_size needs an UnlabelledDataset")
    losses = slim.at("losses", None)
    if not isinstance(losses, Mapping) or not losses:
        raise ConfigError(
            f"{slim.where()}: losses is missing: give at least one, e.g. losses: {{l2: {{type: OutputL2}}}}"
        )
    for name in losses:
        plan(slim, _loss_spec(slim, name), given={"student": None, "teacher": None})
    check(_teacher_config(slim))


def _check_keys(slim: Config) -> None:
    for section, known in KEYS.items():
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


def build_losses(slim: Config, student: DetectorSpec, teacher: DetectorSpec) -> dict[str, DistillLoss]:
    """The losses of a slim file between two detectors, by their keys in it."""
    return {name: _build_loss(slim, name, student, teacher) for name in slim["losses"]}


def resolve(path: str, slim: Config) -> str:
    """``path`` as the user sees it: from the current folder, else from the slim file's folder or one above it; or the
    shipped configuration of that name.
    """
    folders = [Path(), *Path(slim.path).resolve().parents]
    return find_config(path, folders=folders, asker=slim.mark("teacher.config"), noun="the teacher's configuration")


def _for_student(slim: Config, cfg: Config, student: DetectorSpec) -> Config:
    """``slim`` in ppkd's form, with a line on what of PaddleDetection's form leaves the student alone."""
    if ignored := left_alone(slim, cfg):
        logger.info("%s also sets %s: the student keeps its own, as -c says", slim.path, ", ".join(ignored))
    own = own_form(slim, cfg)
    return own if own is slim else at_levels(own, slim, student)


def _teacher_config(slim: Config) -> Config:
    """The teacher's configuration, from its file or, in PaddleDetection's form, as the slim file holds it."""
    config = slim["teacher"]["config"]
    return config if isinstance(config, Config) else load_config(resolve(config, slim))


def _build_teacher(slim: Config) -> Detector:
    teacher = build_detector(_teacher_config(slim))
    report = load_weights(teacher, slim["teacher"]["weights"], strict=True)
    logger.info("Teacher: %s", report)
    return teacher


def _build_loss(slim: Config, name: str, student: DetectorSpec, teacher: DetectorSpec) -> DistillLoss:
    try:
        return build(slim, _loss_spec(slim, name), student=student, teacher=teacher)
    except SpecError as error:
        raise SpecError(f"{slim.where(f'losses.{name}')}: losses.{name}: {error}") from error


def _loss_spec(slim: Config, name: str) -> Config:
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
            f"there are {', '.join(known)}"
        )
    return settings.without("type").with_item("name", settings["type"], settings.mark("type"))


def _loss_types() -> list[str]:
    """The names of all distillation losses, sorted."""
    return [name for name in names() if issubclass(lookup(name, "").cls, DistillLoss)]


def _inherit_matching(student: Detector, teacher: Detector) -> None:
    """Give the student everything outside the backbone that the teacher has under the same name and shape."""
    ours, theirs = student.state_dict(), teacher.state_dict()
    fitting = (name for name in ours if name in theirs and ours[name].shape == theirs[name].shape)
    taken = [name for name in fitting if not name.startswith("backbone.")]
    for name in taken:
        ours[name].set_value(theirs[name])
    logger.info("Student inherits from the teacher what fits outside the backbone: %d tensors", len(taken))


def _inherit(student: Detector, teacher: Detector, part: str, slim: Config) -> None:
    ours, theirs = student.part(part).state_dict(), teacher.part(part).state_dict()
    shapes = [{name: tuple(tensor.shape) for name, tensor in state.items()} for state in (ours, theirs)]
    if shapes[0] != shapes[1]:
        differing = sorted(name for name, _ in shapes[0].items() ^ shapes[1].items())
        raise ConfigError(
            f"{slim.where('student.inherit')}: the student's {part} is not the teacher's: {len(differing)} names or "
            f"shapes differ, first {differing[0]}. Leave {part} out of student.inherit."
        )
    student.part(part).set_state_dict({name: tensor.clone() for name, tensor in theirs.items()})
    logger.info("Student inherits the teacher's %s: %d tensors", part, len(theirs))
