"""A slim file and a student's configuration -> a distillation model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ppkd.config import Config, build
from ppkd.config.value import LocatedError
from ppkd.distill.cache.teacher import CachedTeacher, recorded_spec
from ppkd.distill.graphs.settings import build_graph_teacher
from ppkd.distill.graphs.teacher import GraphTeacher
from ppkd.distill.inherit import inherit_matching, inherit_part
from ppkd.distill.loss import DistillLoss
from ppkd.distill.model import ONLY, DistillModel
from ppkd.distill.paddledetection import at_levels, left_alone, own_form
from ppkd.distill.slim import caches, check_slim, is_graph, loss_spec, teacher_blocks, teacher_config, teacher_of
from ppkd.distill.teacher import FrozenTeacher, Teacher, asked_of
from ppkd.distill.teacher_run import with_teacher_runs
from ppkd.models import build_detector
from ppkd.models.detectors.detector import Detector
from ppkd.models.weights import load_pretrain, load_weights
from ppkd.structures import DetectorSpec
from ppkd.utils.errors import SpecError
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)

Source = Detector | GraphTeacher
"""What a teacher is made of."""
Shape = Callable[[Detector], object]
"""Changes how many channels a detector has."""


def as_it_is(detector: Detector) -> None:
    """No change of ``detector``."""


def build_distiller(cfg: Config, slim: Config, *, pretrain: str | None = None, shape: Shape = as_it_is) -> DistillModel:
    """The distillation model of the student of ``cfg`` with the teachers and the losses of ``slim``.

    The student's weights are random, or those of ``pretrain`` (see :func:`ppkd.models.weights.load_pretrain`), except
    for what ``student.inherit`` copies from the first teacher: whole parts, which win over ``pretrain``, or with
    ``matching`` what fits outside the backbone, over which ``pretrain`` wins. Then ``shape`` changes the student, which
    losses and adapters are made for. ``slim`` may have PaddleDetection's form.

    Raises:
        ConfigError: a key of the slim file is unknown, missing or wrong.
        SpecError: a loss consumes what the student or its teacher does not record.
        WeightsError: a teacher's weights are missing, damaged or of another model.
    """
    check_slim(slim, cfg)
    student = build_detector(cfg)
    slim = _for_student(with_teacher_runs(slim), cfg, student.spec())
    teachers = {name: _build_teacher(slim, name, student.spec(), cfg) for name in teacher_blocks(slim)}
    _start(student, next(iter(teachers.values())), slim, pretrain)
    shape(student)
    losses = build_losses(slim, student.spec(), {name: _spec(slim, name, one) for name, one in teachers.items()})
    learns_from = {name: teacher_of(slim, name) for name in losses}
    frozen = {name: _freeze(slim, name, teacher, losses, learns_from) for name, teacher in teachers.items()}
    return DistillModel(
        student,
        frozen,
        losses,
        learns_from,
        total_weight=slim.at("total_weight", None) or 1.0,
        teacher_targets_from=slim.at("student.teacher_targets_from", None),
    )


def first_teacher(cfg: Config, slim: Config) -> Detector | None:
    """The trained detector that teaches the student of ``cfg`` as ``slim`` says; of several the first one.

    None where that is an ONNX graph, which only records.

    Raises :class:`PPKDError` for wrong settings and weights.
    """
    slim = own_form(with_teacher_runs(slim), cfg)
    name = next(iter(teacher_blocks(slim)))
    return None if is_graph(slim, name) else _build_detector(slim, name)


def build_losses(
    slim: Config, student: DetectorSpec, teachers: DetectorSpec | Mapping[str, DetectorSpec]
) -> dict[str, DistillLoss]:
    """The losses of a slim file between a student and its teacher, or several by name, by their keys in the file."""
    named = {ONLY: teachers} if isinstance(teachers, DetectorSpec) else teachers
    return {name: _build_loss(slim, name, student, named[teacher_of(slim, name)]) for name in slim["losses"]}


def _for_student(slim: Config, cfg: Config, student: DetectorSpec) -> Config:
    """``slim`` in ppkd's form, with a line on what of PaddleDetection's form leaves the student alone."""
    if ignored := left_alone(slim, cfg):
        logger.info("%s also sets %s: the student keeps its own, as -c says", slim.path, ", ".join(ignored))
    own = own_form(slim, cfg)
    return own if own is slim else at_levels(own, slim, student)


def _start(student: Detector, teacher: Source, slim: Config, pretrain: str | None) -> None:
    """Give the student the weights that it starts with: those of ``pretrain``, and what it inherits."""
    inherited = slim.at("student.inherit", None) or ()
    if inherited == "matching":
        inherit_matching(student, _with_weights(teacher, slim))
    if pretrain:
        logger.info("Pretrained weights: %s", load_pretrain(student, pretrain))
    for part in inherited if inherited != "matching" else ():
        inherit_part(student, _with_weights(teacher, slim), part, slim)


def _with_weights(teacher: Source, slim: Config) -> Detector:
    """``teacher``; raises :class:`ConfigError` for a graph."""
    if isinstance(teacher, GraphTeacher):
        raise LocatedError(slim.mark("student.inherit"), "student.inherit: an ONNX graph has no weights to inherit")
    return teacher


def _build_teacher(slim: Config, name: str, student: DetectorSpec, cfg: Config) -> Source:
    if is_graph(slim, name):
        graph = build_graph_teacher(slim, teacher_blocks(slim)[name], student, cfg)
        logger.info("%s: %s records %s", name.capitalize(), graph.spec().name, ", ".join(graph.spec().entries))
        return graph
    return _build_detector(slim, name)


def _build_detector(slim: Config, name: str) -> Detector:
    teacher = build_detector(teacher_config(slim, name))
    report = load_weights(teacher, slim.at(f"{teacher_blocks(slim)[name]}.weights"), strict=True)
    logger.info("%s: %s", name.capitalize(), report)
    return teacher


def _freeze(
    slim: Config, name: str, teacher: Source, losses: Mapping[str, DistillLoss], learns_from: Mapping[str, str]
) -> Teacher:
    """The teacher of that name, which records what its losses consume."""
    own = [loss for key, loss in losses.items() if learns_from[key] == name]
    decides = name == next(iter(teacher_blocks(slim))) and slim.at("student.teacher_targets_from", None) is not None
    entries = asked_of(_spec(slim, name, teacher), own, assigned=decides)
    casts = bool(slim.at(f"{teacher_blocks(slim)[name]}.amp", None))
    made = teacher.only(entries) if isinstance(teacher, GraphTeacher) else FrozenTeacher(teacher, entries, casts=casts)
    cache = caches(slim).get(name)
    return made if cache is None else CachedTeacher(name, made, entries, cache)


def _spec(slim: Config, name: str, teacher: Source) -> DetectorSpec:
    """What losses may ask of the teacher of that name."""
    return recorded_spec(teacher.spec()) if name in caches(slim) else teacher.spec()


def _build_loss(slim: Config, name: str, student: DetectorSpec, teacher: DetectorSpec) -> DistillLoss:
    try:
        return build(slim, loss_spec(slim, name), student=student, teacher=teacher)
    except SpecError as error:
        raise SpecError(f"{slim.where(f'losses.{name}')}: losses.{name}: {error}") from error
