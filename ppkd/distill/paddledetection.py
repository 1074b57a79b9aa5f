"""PaddleDetection's slim files for distillation, in ppkd's form.

There a slim file *is* the teacher's configuration, with ``slim: Distill``, a method and a loss on top, and its weights
under ``pretrain_weights``. Whatever else it says changes the student too; here it never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ppkd.config.validate import DATASETS, READERS, TRAINING
from ppkd.config.value import OVERRIDE, Config, LocatedError, Mark, freeze
from ppkd.distill import paddledetection_ppyoloe as ppyoloe
from ppkd.structures import DetectorSpec
from ppkd.utils.errors import nearest

OWN = (
    *("slim", "teacher", "student", "losses", "total_weight", "UnlabelledDataset", "unlabelled_batch_size"),
    *("pruner", "Pruner"),
)
METHOD, LOSS, NAMES = THEIRS = ("slim_method", "distill_loss", "distill_loss_name")
METHODS = ("FGD", "CWD", "LD", ppyoloe.METHOD)
ALL_LEVELS = "distill_loss"
STUDENTS = (*TRAINING, *READERS, *DATASETS, "epoch", "num_classes", "metric", "worker_num", "snapshot_epoch", "use_ema")
"""Keys that, in a slim file, change the student's training in PaddleDetection."""

ENTRIES = {"neck_f_": "neck", "cls_f_": "cls_logits"}
COARSEST_FIRST = ("YOLOv3", "PPYOLOE")
"""Detectors whose necks give their levels coarsest first in PaddleDetection."""
FROM_SPECS = ("student_channels", "teacher_channels", "name")


@dataclass(frozen=True)
class Formula:
    """What a loss of PaddleDetection is here: a registered ``type``, its ``defaults`` there, its ``renamed`` keys."""

    type: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    levels: bool = True


FORMULAS = {
    "DistillYOLOv3Loss": Formula("YOLOv3FineGrained", {"weight": 1000.0}, levels=False),
    "FGDFeatureLoss": Formula("FGD", {"gamma_fgd": 0.001}, {"loss_weight": "weight"}),
    "CWDFeatureLoss": Formula("CWD", {"weight": 1.0}),
    "ChannelWiseDivergence": Formula("CWD", {"weight": 1.0}),
}

LD_TERMS: Mapping[str, Mapping[str, Any]] = {
    "loss_ld": {"type": "LD", "region": "main", "weight": 0.25, "T": 10},
    "loss_ld_vlr": {"type": "LD", "region": "valuable", "weight": 0.25, "T": 10},
    "loss_kd": {"type": "ClassKD", "region": "main", "weight": 10, "T": 2},
}


def is_theirs(slim: Config) -> bool:
    """Whether a slim file has PaddleDetection's form."""
    return any(key in slim for key in (*THEIRS, "architecture", "pretrain_weights"))


def own_form(slim: Config, student: Config | None = None) -> Config:
    """``slim`` as ppkd writes it; unchanged if it has that form already.

    The teacher is the file itself without what is about distillation. Every name of ``distill_loss_name`` is a loss of
    its own, logged under it, on one level (see :func:`at_levels`): ``neck_f_*`` compares necks and ``cls_f_*`` class
    maps. LD's losses weigh what the ``student``'s ``LDGFLHead`` says, else as published. FGD's student starts from the
    teacher where it fits, PP-YOLOE's learns the teacher's targets once its head's static assigner has ended. Keys of
    ppkd's form, as ``-o slim.teacher.weights=...`` adds them, win.

    Raises :class:`ConfigError` for a method or loss that has no counterpart here.
    """
    if not is_theirs(slim):
        return slim
    method = slim.get(METHOD)
    if method is not None and method not in METHODS:
        raise LocatedError(
            slim.mark(METHOD),
            f"slim_method {method} is not translated{nearest(str(method), METHODS)}; known are {', '.join(METHODS)} "
            "and none (YOLOv3). Write `teacher:` and `losses: {name: {type: ...}}` as docs/distillation.md shows",
        )
    losses = _losses(slim, student)
    spare = slim.without(*OWN, *THEIRS, str(slim.get(LOSS)), "pretrain_weights")
    made: dict[str, Any] = {
        "slim": slim.get("slim"),
        "teacher": {"config": spare, "weights": slim.get("pretrain_weights")},
        "student": _of_student(slim, student),
        "losses": losses,
    }
    if method == ppyoloe.METHOD:
        made["total_weight"] = ppyoloe.TOTAL
    written = freeze(made, slim.origin)
    return Config(written.values_, written.marks_, slim.origin, slim.path).merge(_only(slim, OWN))


def at_levels(own: Config, slim: Config, student: DetectorSpec) -> Config:
    """``own``, the form of ``slim`` here, with every loss of ``distill_loss_name`` bound to its level.

    As in PaddleDetection the order of the names counts, not their numbers: the first is the first level that the
    student's neck gives there, whose number is the highest. Raises :class:`ConfigError` for more names than levels.
    """
    losses = own["losses"]
    for index, name in enumerate(_names(slim)):
        entry = student.entries.get(_entry(slim, name))
        if name not in losses or entry is None:
            continue
        strides = entry.strides[::-1] if student.name in COARSEST_FIRST else entry.strides
        if index >= len(strides):
            raise LocatedError(slim.mark(NAMES), f"{name} is level {index + 1}, but {student.name} has {list(strides)}")
        settings = freeze({"strides": [strides[index]]}, slim.mark(NAMES)).merge(losses[name])
        losses = losses.with_item(name, settings, losses.mark(name))
    return own.with_item("losses", losses, own.mark("losses"))


def left_alone(slim: Config, student: Config) -> list[str]:
    """The keys of a slim file of PaddleDetection that would change the student's training there, and do not here.

    What ``-o`` sets for the student wins there too.
    """
    if not is_theirs(slim):
        return []
    return [key for key in STUDENTS if key in slim and _differs(_only(slim, (key,)), student)]


def _differs(theirs: Any, ours: Any) -> bool:
    """Whether ``theirs`` has what ``ours`` has not, apart from what overrides have set in ``ours``."""
    if isinstance(theirs, Config) and isinstance(ours, Config):
        written = (key for key in theirs if key not in ours or ours.mark(key) != OVERRIDE)
        return any(_differs(theirs[key], ours.get(key)) for key in written)
    if isinstance(theirs, tuple) and isinstance(ours, tuple) and len(theirs) == len(ours):
        return any(map(_differs, theirs, ours))
    return bool(theirs != ours)


def _of_student(slim: Config, student: Config | None) -> dict[str, Any]:
    """What the method changes of the student."""
    method = slim.get(METHOD)
    if method == ppyoloe.METHOD:
        return {"teacher_targets_from": ppyoloe.aligned_since(slim, student)}
    return {"inherit": "matching"} if method == "FGD" else {}


def _losses(slim: Config, student: Config | None) -> Mapping[str, Any]:
    method = slim.get(METHOD)
    if method == ppyoloe.METHOD:
        return ppyoloe.ppyoloe_losses(slim)
    return _ld(slim, student) if method == "LD" else _of_formula(slim)


def _of_formula(slim: Config) -> dict[str, Any]:
    name = slim.get(LOSS)
    formula = FORMULAS.get(str(name))
    if formula is None:
        known = ", ".join(FORMULAS)
        raise LocatedError(
            slim.mark(LOSS),
            f"distill_loss is {name}{nearest(str(name), FORMULAS)}; translated are {known}. Other losses stand under "
            "`losses: {name: {type: ...}}`, see docs/distillation.md",
        )
    settings = _settings(slim, str(name), formula)
    names = _names(slim) if formula.levels else ()
    if not names:
        return {ALL_LEVELS: settings}
    return {each: _on(settings, _entry(slim, each), slim.mark(NAMES)) for each in names}


def _settings(slim: Config, name: str, formula: Formula) -> Config:
    where = slim.mark(LOSS)
    block = slim.get(name)
    block = Config({}, {}, where) if block is None else block
    if not isinstance(block, Config):
        raise LocatedError(slim.mark(name), f"{name} must be a mapping of its settings, not {block!r}")
    settings: Config = freeze({"type": formula.type, **formula.defaults}, where)
    for key in block:
        if key not in FROM_SPECS:
            settings = settings.with_item(formula.renamed.get(key, key), block[key], block.mark(key))
    return settings


def _names(slim: Config) -> tuple[str, ...]:
    names = slim.get(NAMES) or ()
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise LocatedError(slim.mark(NAMES), f"{NAMES} must be a list such as [neck_f_4, neck_f_3], not {names!r}")
    return names


def _entry(slim: Config, name: str) -> str:
    """The record's entry that a name such as ``neck_f_4`` means."""
    for prefix, entry in ENTRIES.items():
        if name.startswith(prefix):
            return entry
    raise LocatedError(
        slim.mark(NAMES), f"{NAMES} has {name}, expected neck_f_0, neck_f_1, ... or cls_f_0, cls_f_1, ..."
    )


def _on(settings: Config, entry: str, where: Mark) -> Config:
    return settings if entry == "neck" else settings.with_item("consumes", (entry,), where)


def _ld(slim: Config, student: Config | None) -> dict[str, Any]:
    head = None if student is None else student.get("LDGFLHead")
    if not isinstance(head, Config):
        return {key: dict(term) for key, term in LD_TERMS.items()}
    made = {}
    for key, term in LD_TERMS.items():
        given = head.get(key)
        given = given if isinstance(given, Config) else {}
        weights = {"weight": given.get("loss_weight", 1.0), "T": given.get("T", 10)}
        made[key] = freeze({**term, **weights}, head.mark(key))
    return made


def _only(slim: Config, keys: tuple[str, ...]) -> Config:
    return slim.without(*(key for key in slim if key not in keys))
