"""Groups of channels that go together, and which of a group's channels matter least."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from ppkd.models.pruning.labels import FIXED, Labels
from ppkd.models.pruning.trace import Channels

Criterion = Literal["l1_norm", "fpgm"]


@dataclass(frozen=True, eq=False)
class Group:
    """Channels of one or more convolutions that are the same channels, for what reads them.

    Attributes:
        members: the label of each of their filters, by the names of their weights, in the model's order.
    """

    members: Mapping[str, Labels]

    @property
    def name(self) -> str:
        """The first weight's."""
        return next(iter(self.members))

    def weakest(self, model: nn.Layer, criterion: Criterion, ratio: float, judged: str | None = None) -> Labels:
        """The labels of the share ``ratio`` of the channels that matter least; at least one channel stays.

        As in PaddleSlim the filters of one weight are judged: those of ``judged``, by default of the first.
        """
        name = judged or self.name
        weight = model.state_dict()[name].numpy()
        filters = (weight.T if weight.ndim == 2 else weight).reshape(len(self.members[name]), -1)
        labels, places = np.unique(self.members[name], return_inverse=True)
        scores = np.bincount(places, SCORES[criterion](filters)) / np.bincount(places)
        count = min(round(len(labels) * ratio), len(labels) - 1)
        return labels[np.argsort(scores, kind="stable")[:count]]


def l1_norm(filters: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean magnitude of the numbers of each of ``filters`` [n, k] (Li et al., arXiv:1608.08710)."""
    return np.abs(filters).mean(axis=1, dtype=np.float64)


def fpgm(filters: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sum of the distances of each of ``filters`` [n, k] to all others (He et al., arXiv:1811.00250)."""
    wide = filters.astype(np.float64)
    squares = (wide**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2.0 * wide @ wide.T
    return np.asarray(np.sqrt(np.maximum(distances, 0.0)).sum(axis=1))


SCORES = {"l1_norm": l1_norm, "fpgm": fpgm}


def groups(channels: Channels, model: nn.Layer) -> list[Group]:
    """All groups that can be pruned, in the order of the model's parameters."""
    made: dict[int, list[str]] = {}
    produced = producers(channels, model)
    for name, labels in produced.items():
        if FIXED not in labels:
            known = next((key for key, names in made.items() if _meet(labels, produced, names)), len(made))
            made.setdefault(known, []).append(name)
    return [Group({name: produced[name] for name in names}) for names in made.values()]


def _meet(labels: Labels, produced: Mapping[str, Labels], names: Iterable[str]) -> bool:
    return any(np.isin(labels, produced[name]).any() for name in names)


def producers(channels: Channels, model: nn.Layer) -> Mapping[str, Labels]:
    """The labels of what the convolutions and linear layers put out, by their weights, in the model's order."""
    order = {name: tensor.ndim for name, tensor in model.state_dict().items() if tensor.ndim in (2, 4)}
    axes = {name: 0 if ndim == 4 else 1 for name, ndim in order.items()}
    return {name: channels.axes[name, axis] for name, axis in axes.items() if (name, axis) in channels.axes}
