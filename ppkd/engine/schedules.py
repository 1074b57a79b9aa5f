"""Learning rate schedules as closed-form functions of the step, so that resuming needs no state.

Settings and their defaults are PaddleDetection's. A *step* counts optimizer updates from 0 over the whole run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ppkd.config import Config, build, register
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


@dataclass(frozen=True)
class Span:
    """How long a run is: ``warmup`` in steps, ``epoch`` in steps per epoch."""

    epoch: int
    warmup: int = 0


@runtime_checkable
class Decay(Protocol):
    """A schedule of the steps after the warm-up."""

    use_warmup: bool

    def rate(self, base_lr: float, step: int, span: Span) -> float:
        """The learning rate at ``step``."""


@runtime_checkable
class Warmup(Protocol):
    """A schedule of the first steps."""

    def steps_of(self, steps_per_epoch: int) -> int:
        """How many steps the warm-up takes, at least 1."""

    def factor(self, progress: float) -> float:
        """What the base rate is multiplied by at ``progress``, which runs from 0 to 1."""


@register
class PiecewiseDecay:
    """The base rate times ``gamma[i]`` from epoch ``milestones[i]`` on.

    A single ``gamma`` stands for gamma, gamma/10, gamma/100, ..., as in PaddleDetection. ``values`` are absolute
    rates instead, one more than milestones.
    """

    def __init__(
        self,
        *,
        gamma: float | Sequence[float] = (0.1, 0.01),
        milestones: Sequence[int] = (8, 11),
        values: Sequence[float] | None = None,
        use_warmup: bool = True,
    ) -> None:
        self.milestones = list(milestones)
        if isinstance(gamma, int | float):
            gamma = [gamma / 10**i for i in range(len(self.milestones))]
        self.gammas = [1.0, *gamma]
        self.values = values
        self.use_warmup = use_warmup
        given = self.gammas if values is None else values
        if len(given) != len(self.milestones) + 1:
            name, count = ("gamma", len(given) - 1) if values is None else ("values", len(given))
            raise ConfigError(f"PiecewiseDecay: {count} {name} do not fit {len(self.milestones)} milestones")

    def rate(self, base_lr: float, step: int, span: Span) -> float:
        """The learning rate at ``step``."""
        passed = sum(step >= milestone * span.epoch for milestone in self.milestones)
        return base_lr * self.gammas[passed] if self.values is None else self.values[passed]


@register
class CosineDecay:
    """Half a cosine from the base rate after the warm-up to ``min_lr_ratio`` of it.

    The minimum is reached ``last_plateau_epochs`` before ``max_epochs`` and held from there on (Loshchilov and
    Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", without the restarts).
    """

    def __init__(
        self,
        *,
        max_epochs: int = 1000,
        use_warmup: bool = True,
        min_lr_ratio: float = 0.0,
        last_plateau_epochs: int = 0,
    ) -> None:
        self.max_epochs = max_epochs
        self.use_warmup = use_warmup
        self.min_lr_ratio = min_lr_ratio
        self.last_plateau_epochs = last_plateau_epochs

    def rate(self, base_lr: float, step: int, span: Span) -> float:
        """The learning rate at ``step``."""
        length = (self.max_epochs - self.last_plateau_epochs) * span.epoch - span.warmup
        progress = min((step - span.warmup) / length, 1.0) if length > 0 else 1.0
        lowest = base_lr * self.min_lr_ratio
        return lowest + (base_lr - lowest) * 0.5 * (1.0 + math.cos(math.pi * progress))


class _Rise:
    """Warm-up of ``epochs`` epochs or, without them, ``steps`` steps."""

    def __init__(self, steps: int, epochs: int | None) -> None:
        self.steps = steps
        self.epochs = epochs

    def steps_of(self, steps_per_epoch: int) -> int:
        """How many steps the warm-up takes, at least 1."""
        return max(self.steps if self.epochs is None else self.epochs * steps_per_epoch, 1)


@register
class LinearWarmup(_Rise):
    """From ``start_factor`` times the base rate to the base rate along a line; ``epochs`` wins over ``steps``."""

    def __init__(self, *, steps: int = 500, start_factor: float = 1.0 / 3, epochs: int | None = None) -> None:
        super().__init__(steps, epochs)
        self.start_factor = start_factor

    def factor(self, progress: float) -> float:
        """What the base rate is multiplied by at ``progress``, which runs from 0 to 1."""
        return self.start_factor * (1.0 - progress) + progress


@register
class ExpWarmup(_Rise):
    """From 0 to the base rate along the ``power``-th power; ``epochs`` wins over ``steps``."""

    def __init__(self, *, steps: int = 1000, epochs: int | None = None, power: int = 2) -> None:
        super().__init__(steps, epochs)
        self.power = power

    def factor(self, progress: float) -> float:
        """What the base rate is multiplied by at ``progress``, which runs from 0 to 1."""
        return float(progress**self.power)


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a function of the step."""

    base_lr: float
    decay: Decay
    warmup: Warmup | None
    steps_per_epoch: int

    def __call__(self, step: int) -> float:
        """The learning rate of update number ``step``, counted from 0 over the whole run."""
        if self.warmup is None or not self.decay.use_warmup:
            return self.decay.rate(self.base_lr, step, Span(self.steps_per_epoch))
        length = self.warmup.steps_of(self.steps_per_epoch)
        if step < length:
            return self.base_lr * self.warmup.factor(step / length)
        return self.decay.rate(self.base_lr, step, Span(self.steps_per_epoch, length))


@register
class LearningRate:
    """The top-level block ``LearningRate``: a base rate, one decay and at most one warm-up, in any order.

    ``base_batch_size`` is the number of images per update for which ``base_lr`` was chosen.
    """

    def __init__(self, *, base_lr: float = 0.01, base_batch_size: int | None = None, schedulers: Any = None) -> None:
        parts = [PiecewiseDecay(), LinearWarmup()] if schedulers is None else schedulers
        decays = [part for part in parts if isinstance(part, Decay)]
        warmups = [part for part in parts if isinstance(part, Warmup)]
        if len(decays) != 1 or len(warmups) > 1 or len(decays) + len(warmups) != len(parts):
            names = [type(part).__name__ for part in parts]
            raise ConfigError(f"LearningRate.schedulers: expected one decay and at most one warm-up, got {names}")
        if not 0 <= base_lr < math.inf:
            raise ConfigError(f"LearningRate.base_lr is {base_lr}, expected a number from 0 on")
        if base_batch_size is not None and base_batch_size < 1:
            raise ConfigError(f"LearningRate.base_batch_size is {base_batch_size}, expected at least 1")
        self.base_lr = base_lr
        self.base_batch_size = base_batch_size
        self.decay = decays[0]
        self.warmup = warmups[0] if warmups else None

    def schedule(self, steps_per_epoch: int, *, batch_size: int | None = None) -> Schedule:
        """The learning rate of a run with ``steps_per_epoch`` updates per epoch.

        ``batch_size`` images per update scale it from ``base_batch_size`` (Goyal et al., arXiv 1706.02677). Raises
        :class:`ConfigError` when that is not set, or the decay has absolute ``values``.
        """
        rate = self.base_lr if batch_size is None else self._scaled(batch_size)
        return Schedule(rate, self.decay, self.warmup, steps_per_epoch)

    def _scaled(self, batch_size: int) -> float:
        if self.base_batch_size is None:
            raise ConfigError(
                "--auto_scale_lr needs LearningRate.base_batch_size, the images per update (all processes together) "
                "for which LearningRate.base_lr was chosen"
            )
        if getattr(self.decay, "values", None) is not None:
            raise ConfigError("--auto_scale_lr: PiecewiseDecay.values are absolute rates; use gamma instead")
        scaled = self.base_lr * batch_size / self.base_batch_size
        logger.info(
            "Learning rate: base_lr * batch / base_batch_size = %g * %d / %d = %g",
            *(self.base_lr, batch_size, self.base_batch_size, scaled),
        )
        return scaled


def build_learning_rate(cfg: Config) -> LearningRate:
    """The block ``LearningRate`` of ``cfg``, or PaddleDetection's default; raises :class:`ConfigError`."""
    block = cfg.get("LearningRate")
    given: dict[str, Any] = {}
    parts = block.get("schedulers") if isinstance(block, Mapping) else None
    if parts is not None:
        if not isinstance(parts, tuple):
            where = cfg.where("LearningRate.schedulers")
            raise ConfigError(f"{where}: LearningRate.schedulers is {parts!r}, expected a list of schedules")
        given["schedulers"] = [build(cfg, part) for part in parts]
    rate = build(cfg, {"name": "LearningRate"}, **given)
    assert isinstance(rate, LearningRate)
    return rate
