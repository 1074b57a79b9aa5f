"""The optimizer: PaddleDetection's ``OptimizerBuilder`` on Paddle's optimizers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import paddle
from paddle import Tensor

from ppkd.config import Config, build, register
from ppkd.utils.errors import ConfigError, nearest
from ppkd.utils.logger import get_logger

OPTIMIZERS: Mapping[str, type[paddle.optimizer.Optimizer]] = {
    "Momentum": paddle.optimizer.Momentum,
    "SGD": paddle.optimizer.SGD,
    "Adam": paddle.optimizer.Adam,
    "AdamW": paddle.optimizer.AdamW,
}
REGULARIZERS = {"L1": paddle.regularizer.L1Decay, "L2": paddle.regularizer.L2Decay}
L2: Mapping[str, Any] = {"type": "L2", "factor": 1e-4}
_log = get_logger(__name__)
_OURS = ("self", "learning_rate", "parameters", "grad_clip", "name", "apply_decay_param_fun")


@register
class OptimizerBuilder:
    """The top-level block ``OptimizerBuilder``.

    Args:
        clip_grad_by_norm: largest global L2 norm of all gradients.
        clip_grad_by_value: largest absolute value of a gradient's element; the norm wins when both are given.
        optimizer: ``type`` (Momentum, SGD, Adam, AdamW) and the arguments of Paddle's optimizer of that name.
        regularizer: ``type`` (L2, L1) and ``factor``; null or false for none. Not for AdamW, which has a
            ``weight_decay`` of its own in ``optimizer`` instead; for the others that one has no effect, as in
            PaddleDetection, and a line says so.

    Defaults are PaddleDetection's: Momentum 0.9 and L2 with 0.0001.

    What a layer's ``ParamAttr`` says wins: its learning rate multiplies the schedule's, its regularizer replaces
    this one (normalisation layers without decay), for AdamW too.
    """

    def __init__(
        self,
        *,
        clip_grad_by_norm: float | None = None,
        clip_grad_by_value: float | None = None,
        optimizer: Mapping[str, Any] | None = None,
        regularizer: Mapping[str, Any] | bool | None = L2,
    ) -> None:
        self.settings = dict({"type": "Momentum", "momentum": 0.9} if optimizer is None else optimizer)
        self.kind = self.settings.pop("type", "Momentum")
        self.clip_grad_by_norm = clip_grad_by_norm
        self.clip_grad_by_value = clip_grad_by_value
        self.regularizer = regularizer
        _check_optimizer(self.kind, self.settings)
        for name, limit in (("clip_grad_by_norm", clip_grad_by_norm), ("clip_grad_by_value", clip_grad_by_value)):
            if limit is not None and not 0 < limit < math.inf:
                raise ConfigError(f"OptimizerBuilder.{name} is {limit}, expected a positive number")
        if regularizer:
            _check_regularizer(regularizer)

    def build(self, parameters: Sequence[Tensor]) -> paddle.optimizer.Optimizer:
        """An optimizer of ``parameters``; its learning rate is set anew before every step."""
        settings = dict(self.settings)
        if self.kind == "AdamW":
            undecayed = {parameter.name for parameter in parameters if _is_undecayed(parameter)}
            settings["apply_decay_param_fun"] = lambda name: name not in undecayed
        else:
            if "weight_decay" in settings:
                _log.info("weight_decay has no effect on %s: the regularizer is %s", self.kind, self.regularizer)
            settings["weight_decay"] = self._decay()
        return OPTIMIZERS[self.kind](learning_rate=0.0, parameters=list(parameters), grad_clip=self._clip(), **settings)

    def _clip(self) -> paddle.nn.ClipGradBase | None:
        if self.clip_grad_by_norm is not None:
            return paddle.nn.ClipGradByGlobalNorm(clip_norm=self.clip_grad_by_norm)
        if self.clip_grad_by_value is not None:
            return paddle.nn.ClipGradByValue(max=self.clip_grad_by_value)
        return None

    def _decay(self) -> Any:
        if not isinstance(self.regularizer, Mapping):
            return None
        return REGULARIZERS[self.regularizer["type"]](float(self.regularizer["factor"]))


def _check_optimizer(kind: str, settings: Mapping[str, Any]) -> None:
    if not isinstance(kind, str) or kind not in OPTIMIZERS:
        raise ConfigError(
            f"OptimizerBuilder.optimizer.type: no optimizer '{kind}'{nearest(str(kind), OPTIMIZERS)}; "
            f"known: {', '.join(OPTIMIZERS)}"
        )
    known = [name for name in inspect.signature(OPTIMIZERS[kind].__init__).parameters if name not in _OURS]
    for key, value in settings.items():
        if key not in known:
            raise ConfigError(
                f"OptimizerBuilder.optimizer: {kind} has no setting '{key}'{nearest(key, known)}; "
                f"known: {', '.join(known)}"
            )
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ConfigError(
                f"OptimizerBuilder.optimizer.{key}: expected a number from 0 on, or true or false, not {value!r}"
            )
    if kind == "Momentum" and settings.get("momentum", 0) >= 1:
        raise ConfigError(f"OptimizerBuilder.optimizer.momentum is {settings['momentum']}, expected less than 1")
    try:
        OPTIMIZERS[kind](learning_rate=0.0, parameters=[paddle.to_tensor([0.0], place=paddle.CPUPlace())], **settings)
    except ValueError as error:
        raise ConfigError(f"OptimizerBuilder.optimizer: {kind} refuses {dict(settings)}: {error}") from error


def _check_regularizer(regularizer: Any) -> None:
    if not isinstance(regularizer, Mapping) or set(regularizer) != {"type", "factor"}:
        raise ConfigError(f"OptimizerBuilder.regularizer: expected {{type: L2, factor: 0.0001}}, not {regularizer}")
    if not isinstance(regularizer["type"], str) or regularizer["type"] not in REGULARIZERS:
        raise ConfigError(
            f"OptimizerBuilder.regularizer.type: expected {' or '.join(REGULARIZERS)}, not {regularizer['type']}"
        )
    if not isinstance(regularizer["factor"], int | float) or not 0 <= regularizer["factor"] < math.inf:
        raise ConfigError(
            f"OptimizerBuilder.regularizer.factor: expected a number from 0 on, not {regularizer['factor']!r}"
        )


def _is_undecayed(parameter: Tensor) -> bool:
    decay = parameter.regularizer
    return decay is not None and decay._coeff == 0.0


def build_optimizer(cfg: Config) -> OptimizerBuilder:
    """The block ``OptimizerBuilder`` of ``cfg``, or PaddleDetection's default one; raises :class:`ConfigError`."""
    builder = build(cfg, {"name": "OptimizerBuilder"})
    assert isinstance(builder, OptimizerBuilder)
    return builder
