"""PaddleDetection's block ``DistillPPYOLOELoss`` as losses of ppkd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

from ppkd.config.convert import convert
from ppkd.config.value import Config, LocatedError, freeze
from ppkd.utils.errors import nearest

METHOD = "PPYOLOEDistill"
BLOCK = "DistillPPYOLOELoss"
TOTAL = 0.125
"""What PaddleDetection multiplies the sum of all losses by, the task's included; it has no key."""

STATIC_ASSIGNER_EPOCH = 4
"""Of a ``PPYOLOEHead`` that does not say, here and there."""

STRIDES = (32, 16, 8)
"""Of the levels of a PP-YOLOE's neck, in PaddleDetection's order."""
LOGITS_WEIGHTS = {"class": "cls_weight", "iou": "box_weight", "dfl": "dfl_weight"}
LD_PARAMS = {"weight": "kd_weight", "T": "T"}
FEATURES: Mapping[str, Mapping[str, Any]] = {
    "fgd": {
        "type": "FGD",
        "normalize": True,
        "temp": 0.5,
        "alpha_fgd": 1e-5,
        "beta_fgd": 5e-6,
        "gamma_fgd": 1e-5,
        "lambda_fgd": 5e-8,
    },
    "cwd": {"type": "CWD", "normalize": True, "tau": 1.0},
    "pkd": {"type": "PKD", "normalize": True},
    "mimic": {"type": "Mimic", "normalize": True},
    "mgd": {
        "type": "MGD",
        "normalize": True,
        "alpha_mgd": 1.0,
        "loss_func": "ssim",
        "lambda_mgd": 0.0,
        "align_bias": False,
    },
}
"""What the losses on features are here, with the settings that PaddleDetection gives them."""


@dataclass(frozen=True)
class Settings:
    """The settings of the block, with PaddleDetection's names and defaults."""

    loss_weight: Mapping[str, float] = field(default_factory=lambda: {"logits": 4.0, "feat": 1.0})
    logits_distill: bool = True
    logits_loss_weight: Mapping[str, float] = field(default_factory=lambda: {"class": 1.0, "iou": 2.5, "dfl": 0.5})
    logits_ld_distill: bool = False
    logits_ld_params: Mapping[str, float] = field(default_factory=lambda: {"weight": 20000.0, "T": 10.0})
    feat_distill: bool = True
    feat_distiller: Literal["fgd", "cwd", "pkd", "mgd", "mimic"] = "fgd"
    feat_distill_place: Literal["neck_feats", "backbone_feats"] = "neck_feats"
    teacher_width_mult: float = 1.0
    student_width_mult: float = 0.75
    feat_out_channels: Sequence[int] = (768, 384, 192)


def ppyoloe_losses(slim: Config) -> Config:
    """The losses of a slim file with the method ``PPYOLOEDistill``, logged under PaddleDetection's names.

    Channels come from the detectors' specs, so the multiples of widths are not read.

    Raises :class:`ConfigError` for a setting that PaddleDetection has not, and for the backbone's features, which no
    loss here compares.
    """
    if slim.get("distill_loss") != BLOCK:
        raise LocatedError(
            slim.mark("slim_method"),
            f"slim_method {METHOD} goes with distill_loss: {BLOCK}, not with {slim.get('distill_loss')}",
        )
    given = _settings(slim)
    losses: dict[str, Any] = {}
    weights = _numbers(slim, "loss_weight", given.loss_weight, ("logits", "feat"))
    if given.logits_distill and weights["logits"]:
        losses["logits_loss"] = {"type": BLOCK, "weight": weights["logits"], **_logits(slim, given)}
    if given.feat_distill and weights["feat"]:
        losses["feat_loss"] = {"weight": weights["feat"], **_features(slim, given)}
    made: Config = freeze(losses, slim.mark("distill_loss"))
    return made


def aligned_since(slim: Config, student: Config | None) -> Any:
    """The epoch from which the student learns the teacher's targets: where its head's static assigner ends."""
    head = None if student is None else student.get("PPYOLOEHead")
    for one in (head, slim.get("PPYOLOEHead")):
        if isinstance(one, Config) and "static_assigner_epoch" in one:
            return one["static_assigner_epoch"]
    return STATIC_ASSIGNER_EPOCH


def _settings(slim: Config) -> Settings:
    block = slim.get(BLOCK)
    block = Config({}, {}) if block is None else block
    if not isinstance(block, Config):
        raise LocatedError(slim.mark(BLOCK), f"{BLOCK} must be a mapping of its settings, not {block!r}")
    known = get_type_hints(Settings)
    for key in block:
        if key not in known:
            raise LocatedError(block.mark(key), f"{BLOCK}.{key} is not a setting of {BLOCK}{nearest(key, known)}")
    return Settings(**{key: convert(block[key], known[key], f"{BLOCK}.{key}", block.mark(key)) for key in block})


def _logits(slim: Config, given: Settings) -> dict[str, float]:
    parts = _numbers(slim, "logits_loss_weight", given.logits_loss_weight, tuple(LOGITS_WEIGHTS))
    kd = _numbers(slim, "logits_ld_params", given.logits_ld_params, tuple(LD_PARAMS))
    settings = {LOGITS_WEIGHTS[key]: value for key, value in parts.items()}
    if not given.logits_ld_distill:
        return {**settings, "kd_weight": 0.0}
    return {**settings, **{LD_PARAMS[key]: value for key, value in kd.items()}}


def _features(slim: Config, given: Settings) -> dict[str, Any]:
    if given.feat_distill_place == "backbone_feats":
        raise LocatedError(
            slim[BLOCK].mark("feat_distill_place"),
            f"{BLOCK}.feat_distill_place is backbone_feats, but losses here compare what the head reads: give "
            "neck_feats",
        )
    levels = len(given.feat_out_channels)
    return {**FEATURES[given.feat_distiller], "strides": list(reversed(STRIDES[:levels]))}


def _numbers(slim: Config, key: str, given: Mapping[str, float], known: Sequence[str]) -> Mapping[str, float]:
    """``given``, the mapping under ``key``; raises :class:`ConfigError` unless it has just the ``known`` keys."""
    for name in [*(one for one in given if one not in known), *(one for one in known if one not in given)]:
        raise LocatedError(
            slim[BLOCK].mark(key), f"{BLOCK}.{key} must have {', '.join(known)}: {name}{nearest(name, known)}"
        )
    return given
