"""A slim file and a student's configuration -> a distillation model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ppkd.config import Config, build, load_config
from ppkd.config.registry import lookup
from ppkd.distill.loss import DistillLoss
from ppkd.distill.model import DistillModel
from ppkd.distill.teacher import FrozenTeacher
from ppkd.models import build_detector
from ppkd.models.detectors.detector import Detector
from ppkd.models.weights import load_pretrain, load_weights
from ppkd.structures import DetectorSpec
from ppkd.utils.errors import ConfigError, SpecError, nearest
from ppkd.utils.logger import get_logger

KEYS = {
    "": ("slim", "teacher", "student", "losses", "UnlabelledDataset", "unlabelled_batch_size"),
    "teacher": ("config", "weights"),
    "student": ("inherit",),
}
PARTS = ("backbone", "neck", "head")

logger = get_logger(__name__)


def build_distiller(cfg: Config, slim: Config, *, pretrain: str | None = None) -> DistillModel:
    """The student of ``cfg``, the teacher and the losses of ``slim``, introduced to each other.

    The student's weights are random, or those of ``pretrain`` (see :func:`ppkd.models.weights.load_pretrain`), except
    for what ``student.inherit`` copies from the teacher.

    Raises:
        ConfigError: a key of the slim file is unknown, missing or wrong.
        SpecError: a loss consumes what the student or the teacher does not record.
        WeightsError: the teacher's weights are missing, damaged or of another model.
    """
    check_slim(slim)
    student = build_detector(cfg)
    if pretrain:
        logger.info("Pretrained weights: %s", load_pretrain(student, pretrain))
    teacher = _build_teacher(slim)
    losses = build_losses(slim, student.spec(), teacher.spec())
    for part in slim.at("student.inherit", ()):
        _inherit(student, teacher, part, slim)
    consumed = {entry for loss in losses.values() for entry in loss.consumes}
    return DistillModel(student, FrozenTeacher(teacher, consumed), losses)


def check_slim(slim: Config) -> None:
    """Raise :class:`ConfigError` unless ``slim`` has the keys of a distillation file and no others."""
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
    if slim.at("slim", None) != "Distill":
        raise ConfigError(f"{slim.where()}: a distillation file says `slim: Distill`")
    for key, example in (("teacher.config", "a detector's yaml"), ("teacher.weights", "a path or URL")):
        if slim.at(key, None) is None:
            raise ConfigError(f"{slim.where()}: {key} is missing: give {example}, here or with -o slim.{key}=...")
    losses = slim.at("losses", None)
    if not isinstance(losses, Mapping) or not losses:
        raise ConfigError(
            f"{slim.where()}: losses is missing: give at least one, e.g. losses: {{l2: {{type: OutputL2}}}}"
        )


def build_losses(slim: Config, student: DetectorSpec, teacher: DetectorSpec) -> dict[str, DistillLoss]:
    """The losses of a slim file between two detectors, by their keys in it."""
    return {name: _build_loss(slim, name, student, teacher) for name in slim["losses"]}


def resolve(path: str, slim: Config) -> str:
    """``path`` as the user sees it: from the current folder, else from the slim file's folder or one above it."""
    folders = [Path.cwd(), *Path(slim.path).resolve().parents]
    for folder in folders:
        if (folder / path).is_file():
            return str(folder / path)
    raise ConfigError(
        f"{slim.where('teacher.config')}: no file {path}, neither from the current folder nor from any folder "
        f"above {slim.path}"
    )


def _build_teacher(slim: Config) -> Detector:
    teacher = build_detector(load_config(resolve(slim["teacher"]["config"], slim)))
    report = load_weights(teacher, slim["teacher"]["weights"], strict=True)
    logger.info("Teacher: %s", report)
    return teacher


def _build_loss(slim: Config, name: str, student: DetectorSpec, teacher: DetectorSpec) -> DistillLoss:
    where = f"{slim.where(f'losses.{name}')}: losses.{name}"
    settings = slim["losses"][name]
    if not isinstance(settings, Config) or "type" not in settings:
        raise ConfigError(f"{where} needs a type, e.g. {{type: OutputL2, weight: 100}}")
    if not issubclass(lookup(settings["type"], settings.mark("type")).cls, DistillLoss):
        raise ConfigError(f"{where}.type: {settings['type']} is not a distillation loss")
    try:
        spec = settings.without("type").with_item("name", settings["type"], settings.mark("type"))
        return build(slim, spec, student=student, teacher=teacher)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from error


def _inherit(student: Detector, teacher: Detector, part: str, slim: Config) -> None:
    if part not in PARTS:
        where = slim.where("student.inherit")
        raise ConfigError(
            f"{where}: a detector has no part '{part}'{nearest(part, PARTS)}; choose from {', '.join(PARTS)}"
        )
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
