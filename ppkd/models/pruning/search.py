"""Ratios of pruning for a share of the operations, found from how much each group's channels matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ppkd.utils.errors import ConfigError

RATIOS = (0.25, 0.5, 0.75)
"""The shares of a group's channels whose removal is tried."""
_STEPS = 40

Sensitivity = Mapping[str, Sequence[float]]
"""For each group the growth of the loss, as a share of it, at each of :data:`RATIOS`."""


def ratios_for(
    sensitivity: Sensitivity, target: float, share: Callable[[Mapping[str, float]], float]
) -> dict[str, float]:
    """The ratio of each group at which the operations are at most ``target`` of all, and the loss grows least.

    Every group is pruned until it alone would make the loss grow by one common amount, linear between what was tried
    (Li et al., arXiv:1608.08710; PaddleSlim searches so). ``share`` gives the operations that remain for given ratios.
    Raises :class:`ConfigError` where the largest ratios leave more than ``target``.
    """
    curves = {name: np.maximum.accumulate([0.0, *growth]) for name, growth in sensitivity.items()}
    least = share(dict.fromkeys(curves, RATIOS[-1]))
    if least > target:
        raise ConfigError(
            f"target {target} cannot be met: pruning every group by {RATIOS[-1]:.0%} leaves {least:.1%} of the "
            f"operations. Set a target of {np.ceil(least * 1000) / 1000:g} or more, or start from a smaller detector"
        )
    low, high = 0.0, float(max(curve[-1] for curve in curves.values())) + 1e-9
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if share(_at(curves, middle)) <= target else (middle, high)
    return _at(curves, high)


def _at(curves: Mapping[str, np.ndarray], growth: float) -> dict[str, float]:
    """The largest ratio of each group at which its loss has grown by no more than ``growth``."""
    return {name: _ratio(curve, growth) for name, curve in curves.items()}


def _ratio(curve: np.ndarray, growth: float) -> float:
    tried = (0.0, *RATIOS)
    last = int(np.searchsorted(curve, growth, side="right")) - 1
    if last == len(tried) - 1:
        return tried[-1]
    rise = curve[last + 1] - curve[last]
    return float(tried[last] + (tried[last + 1] - tried[last]) * (growth - curve[last]) / rise)
