"""The block ``Pruner`` of a slim file, and the groups of channels that it names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from ppkd.config import Config
from ppkd.config.convert import convert
from ppkd.config.value import LocatedError, Mark
from ppkd.models.detectors.detector import Detector
from ppkd.models.pruning.groups import Criterion, Group
from ppkd.utils.errors import nearest

BLOCK = "Pruner"
TYPES: Mapping[str, Any] = {
    "criterion": str,
    "pruned_params": list[str],
    "pruned_ratios": list[float],
    "target": float,
    "batches": int,
    "print_params": bool,
}
NUMBERED = ("YOLOv3", "FasterRCNN", "RetinaNet", "GFL")
"""Detectors that make their convolutions in PaddleDetection's order, so that a number means the same one."""
AUTOMATIC = re.compile(r"conv2d_(\d+)\.w_0")


@dataclass(frozen=True)
class PruneSettings:
    """What to prune.

    Attributes:
        criterion: what judges filters.
        params: the weights whose filters may go; for a ``target`` none means all that can.
        ratios: the share of the filters that goes, for each of ``params``; none where there is a target.
        target: the share of the operations that stays; the ratios are found by sensitivity.
        batches: how many training batches measure the sensitivity.
        mark: where the block stands.
    """

    criterion: Criterion
    params: tuple[str, ...]
    ratios: tuple[float, ...]
    target: float | None
    batches: int
    mark: Mark

    @classmethod
    def of(cls, slim: Config) -> PruneSettings:
        """The block of ``slim``; raises :class:`ConfigError` for what is missing, unknown or out of bounds."""
        block = slim.get(BLOCK)
        if not isinstance(block, Config):
            raise LocatedError(
                slim.mark(BLOCK),
                f"{BLOCK} is missing: write {BLOCK}: {{criterion: l1_norm, target: 0.5}}, or pruned_params and "
                "pruned_ratios instead of a target",
            )
        for key in block:
            if key not in TYPES:
                raise LocatedError(block.mark(key), f"{BLOCK}.{key} is not a setting of {BLOCK}{nearest(key, TYPES)}")
        given = {key: convert(block[key], TYPES[key], f"{BLOCK}.{key}", block.mark(key)) for key in block}
        ratios, target, params = given.get("pruned_ratios"), given.get("target"), given.get("pruned_params", ())
        if (ratios is None) == (target is None):
            raise LocatedError(slim.mark(BLOCK), f"{BLOCK} needs pruned_params with pruned_ratios, or else a target")
        _check(block, given.get("criterion"), params, ratios, target)
        batches = given.get("batches", 4)
        if batches < 1:
            raise LocatedError(block.mark("batches"), f"{BLOCK}.batches is {batches}, expected at least 1")
        return cls(given["criterion"], tuple(params), tuple(ratios or ()), target, batches, slim.mark(BLOCK))


def _check(
    block: Config, criterion: str | None, params: Sequence[str], ratios: Sequence[float] | None, target: float | None
) -> None:
    if criterion not in get_args(Criterion):
        known = ", ".join(get_args(Criterion))
        raise LocatedError(block.mark("criterion"), f"{BLOCK}.criterion is {criterion}, expected one of {known}")
    if ratios is not None and len(ratios) != len(params):
        raise LocatedError(
            block.mark("pruned_ratios"),
            f"{BLOCK} has {len(params)} pruned_params and {len(ratios)} pruned_ratios: give one ratio for each",
        )
    for index, ratio in enumerate(ratios or ()):
        if not 0 <= ratio < 1:
            where = block.mark("pruned_ratios")
            raise LocatedError(where, f"{BLOCK}.pruned_ratios[{index}] is {ratio}, expected at least 0 and below 1")
    if target is not None and not 0 < target < 1:
        raise LocatedError(block.mark("target"), f"{BLOCK}.target is {target}, expected above 0 and below 1")


@dataclass(frozen=True, eq=False)
class Choice:
    """A ``group`` of which the share ``ratio`` goes; the filters of the weight ``judged`` decide which."""

    judged: str
    group: Group
    ratio: float


def choose(settings: PruneSettings, detector: Detector, groups: Sequence[Group]) -> list[Choice]:
    """The group of each of ``settings.params``; all groups if none is named.

    As in PaddleSlim the first weight of a group speaks for all: those named after it are left out. A weight is named as
    in the ``.pdparams``, or by the number of its convolution as in PaddleDetection's files (``conv2d_27.w_0``). Raises
    :class:`ConfigError` for a name that no weight has, and for channels that cannot be removed.
    """
    if not settings.params:
        return [Choice(group.name, group, 0.0) for group in groups]
    by_weight = {name: group for group in groups for name in group.members}
    found: list[Choice] = []
    ratios = settings.ratios or (0.0,) * len(settings.params)
    for param, ratio in zip(settings.params, ratios, strict=True):
        name = _weight(settings, detector, param)
        if name not in by_weight:
            raise LocatedError(
                settings.mark,
                f"{BLOCK}.pruned_params names {param}, whose channels cannot be removed: they are recorded, normalised "
                "in groups, or split by the code behind them. Leave it out",
            )
        if all(by_weight[name] is not chosen.group for chosen in found):
            found.append(Choice(name, by_weight[name], ratio))
    return found


def _weight(settings: PruneSettings, detector: Detector, param: str) -> str:
    weights = {name: tensor.name for name, tensor in detector.named_parameters() if tensor.ndim in (2, 4)}
    if param in weights:
        return param
    number = AUTOMATIC.fullmatch(param)
    if number is None:
        raise LocatedError(
            settings.mark,
            f"{BLOCK}.pruned_params names {param}, but this {type(detector).__name__} has no such weight"
            f"{nearest(param, weights)}",
        )
    if type(detector).__name__ not in NUMBERED:
        example = next(iter(weights))
        raise LocatedError(
            settings.mark,
            f"{BLOCK}.pruned_params names {param}: in {type(detector).__name__} convolutions are not numbered as in "
            f"PaddleDetection, write the weights' names, e.g. {example}",
        )
    made = {int(match[1]): name for name, own in weights.items() if (match := AUTOMATIC.fullmatch(own))}
    order = [made[index] for index in sorted(made)]
    if int(number[1]) >= len(order):
        raise LocatedError(
            settings.mark,
            f"{BLOCK}.pruned_params names {param}, but this {type(detector).__name__} has {len(order)} convolutions: "
            "is the file for another detector?",
        )
    return order[int(number[1])]
