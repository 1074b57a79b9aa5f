"""What each loss does to the student on one batch, and what to change where that is out of proportion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import paddle
from paddle import Tensor

from ppkd.distill.gradients import gradients, neck_parameters
from ppkd.distill.level_loss import LevelLoss
from ppkd.distill.level_wise import LevelWise
from ppkd.distill.loss import DistillLoss
from ppkd.distill.model import Comparison, DistillModel, Given
from ppkd.distill.side import Progress
from ppkd.structures import Record

LOUD, FAINT = 2000.0, 1e-3
"""A loss is remarked on whose gradient is so many times the task's, or less than that part of it.

With a student from random weights the task's gradient is small at first, and a loss that is soon learned may begin
loud: on blood cells CWD began at 956 times the task's, CrossKD at 188, FGD at 34, and all gained; FGD at 9229 cost AP.
"""
MOST = 0.5
"""Of a loss's value, and of an attention: from here on one part is the whole."""
FEW = 8
"""An attention over fewer places cannot but be concentrated."""


@runtime_checkable
class Attending(Protocol):
    """A formula with attentions that a softmax makes."""

    def attentions(self, feature: Tensor) -> Mapping[str, Tensor]:
        """The attentions of the teacher's map [N, C, H, W] by name, [N, count] each, whose mean is 1."""


@dataclass(frozen=True)
class Attention:
    """How concentrated an attention is: its ``largest`` value, of ``count`` where it has a single place."""

    kind: str
    stride: int
    largest: float
    count: int

    @property
    def one_hot(self) -> bool:
        """Whether most of it is in one of many places."""
        return self.count >= FEW and self.largest >= MOST * self.count


@dataclass(frozen=True)
class Effect:
    """What a loss does on one batch.

    Attributes:
        gradient: the norm of its weighted gradient on the student's neck, as a multiple of that of the task's losses.
        cosine: of the angle between the two.
        levels: the part of each stride in the loss's value, where it is a sum over levels.
        attentions: of formulas that have any, level by level.
    """

    gradient: float
    cosine: float
    levels: Mapping[int, float] = field(default_factory=dict)
    attentions: tuple[Attention, ...] = ()

    def data(self) -> dict[str, Any]:
        """The same as json has it; null where the task, or the loss, has no gradient."""
        return {
            "gradient": self.gradient if math.isfinite(self.gradient) else None,
            "cosine": self.cosine if math.isfinite(self.cosine) else None,
            "levels": {str(stride): share for stride, share in self.levels.items()},
            "attentions": [vars(one) for one in self.attentions],
        }


def effects(model: DistillModel, seen: Comparison, at: Progress) -> dict[str, Effect]:
    """The effects of the losses that were computed in ``seen``, whose terms have a graph."""
    names = list(seen.raw)
    rows = gradients([seen.total, *seen.raw.values()], neck_parameters(model.student))
    norms = rows.square().sum(axis=1).sqrt().tolist()
    dots = paddle.mv(rows[1:], rows[0]).tolist() if names else []
    found = {}
    for i, name in enumerate(names):
        own, weight = norms[i + 1], float(model.weight_of(name))
        found[name] = Effect(
            _ratio(abs(weight) * own, norms[0]),
            math.copysign(1.0, weight) * _ratio(dots[i], own * norms[0]),
            *_of_levels(model.losses[name], seen.given[name], at),
        )
    return found


def remedies(name: str, loss: DistillLoss, effect: Effect, positives: Mapping[int, float] | None) -> list[str]:
    """Sentences on what is out of proportion and what to set; ``positives`` are the places of each stride that answer
    for objects of the training set, where that is known."""
    key, settings = f"losses.{name}", loss.wiring.settings
    scale = [f"{key}.scale: rms"] if loss.wiring.pairs and settings.scale == "none" else []
    share = [] if loss.gradient_share is not None else [f"{key}.weight: {{share: 0.5}}"]
    said = []
    if effect.gradient > LOUD or effect.gradient < FAINT:
        mend = [*(scale if effect.gradient > LOUD else []), *share] or [f"another {key}.weight"]
        said.append(f"its gradient is {effect.gradient:.3g} times the task's: set {' or '.join(mend)}")
    empty = [stride for stride in effect.levels if positives is not None and not positives.get(stride)]
    part = sum(effect.levels[stride] for stride in empty)
    if part >= MOST and _lets_weigh(loss):
        said.append(
            f"{100 * part:.0f} % of it comes from {_strides(empty)}, which no object of the training set reaches: set "
            f"{key}.levels: objects"
        )
    for kind in dict.fromkeys(one.kind for one in effect.attentions if one.one_hot):
        where = [one for one in effect.attentions if one.kind == kind and one.one_hot]
        mend = scale or [f"a higher {key}.temp"]
        text = f"its {kind} attention is nearly one-hot on {_strides([one.stride for one in where])}"
        worst = max(where, key=lambda one: one.largest / one.count)
        said.append(f"{text} ({worst.largest:.0f} of {worst.count}): set {mend[0]}")
    return said


def suspicious(losses: Mapping[str, DistillLoss], found: Mapping[str, Effect], positives: Mapping[int, float]) -> bool:
    """Whether most of some loss comes from levels without ``positives``, which more images might find."""
    return any(
        _lets_weigh(losses[name])
        and sum(part for stride, part in effect.levels.items() if not positives.get(stride)) >= MOST
        for name, effect in found.items()
    )


def _lets_weigh(loss: DistillLoss) -> bool:
    """Whether levels weigh the same, but need not."""
    return loss.by_level and bool(loss.wiring.pairs) and loss.wiring.settings.levels == "all"


def _ratio(one: float, other: float) -> float:
    return one / other if other else math.nan


@paddle.no_grad()
def _of_levels(loss: DistillLoss, given: Given, at: Progress) -> tuple[dict[int, float], tuple[Attention, ...]]:
    """The parts of the strides, and the attentions."""
    if not isinstance(loss, LevelLoss):
        return {}, ()
    student, teacher = loss.wiring(given.student, given.teacher)
    values = paddle.stack(loss.values(student, teacher, given.truth, at)).abs()
    weights = loss.wiring.weights(loss.level_strides)
    values = values if weights is None else values * weights
    total = values.sum().item()
    parts: dict[int, float] = {}
    for stride, value in zip(loss.level_strides, values.tolist(), strict=True):
        parts[stride] = parts.get(stride, 0.0) + _ratio(value, total)
    attentions = _attentions(loss, teacher.record) if isinstance(loss, LevelWise) else []
    return parts, tuple(attentions)


def _attentions(loss: LevelWise, teacher: Record) -> list[Attention]:
    found = []
    pairs = [(name, pair) for name, levels in loss.pairs.items() for pair in levels]
    for formula, (name, pair) in zip(loss.formulas, pairs, strict=True):
        if isinstance(formula, Attending):
            for kind, values in formula.attentions(teacher[name][pair.teacher]).items():
                found.append(Attention(kind, pair.stride, values.max(axis=1).mean().item(), values.shape[1]))
    return found


def _strides(strides: list[int]) -> str:
    return f"stride{'s' if len(strides) > 1 else ''} {', '.join(map(str, strides))}"
