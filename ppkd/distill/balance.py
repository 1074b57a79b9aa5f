"""Weights that hold a share of the gradient: ``weight: {share: 0.5}``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import Tensor, nn

from ppkd.models.losses.normaliser import accumulated
from ppkd.utils import processes
from ppkd.utils.logger import get_logger

FIRST = 10
"""So many updates from the beginning on are looked at; the last of them decides the weight to begin from."""
EVERY = 50
MEMORY = 0.1
"""The part of the newest look in the running means, after the first, which are plain means."""
BAND = 2.0
"""A share may be so many times what is asked for, or that part of it, before the weight changes."""
LEAST_FACTOR, MOST_FACTOR = 0.1, 2.0
FLOOR, CEILING = 0.01, 10.0
"""How far a weight may go from the one that it began with: the gradient of a loss that is learned goes to 0."""

logger = get_logger(__name__)


@dataclass(frozen=True)
class Share:
    """A weight such that a loss has so many times the task's gradient.

    Raises:
        ValueError: the share is not above 0.
    """

    share: float

    def __post_init__(self) -> None:
        if self.share <= 0:
            raise ValueError(f"share is {self.share}: give a number above 0, as 0.5")


@dataclass(frozen=True)
class Standing:
    """How a loss stands: its weight, the part of the task's gradient that it has, their cosine, and how often they
    point against each other, 0 to 1, among so many ``probes``."""

    weight: float
    share: float
    cosine: float
    against: float
    probes: int


class Balance(nn.Layer):
    """Weighs losses by the norms of their gradients on the student's neck, relative to that of the task's losses.

    Gradients are those of the whole batch of an update: of all processes and accumulated batches. They are looked at
    in the first :data:`FIRST` updates and in every :data:`EVERY`-th; a weight changes after the first look, after the
    last of the first ones, and then only when an epoch begins and the share has left its band, so that the objective
    stays the same within an epoch. Norms are remembered as running means of their logarithms. Norms that are 0 or not
    finite are left out; a loss whose gradient is not known yet weighs nothing. Everything is kept in buffers, which
    are saved and resumed with the model.

    Args:
        shares: by the names of losses, how many times the task's gradient they shall have; where these add up to more
            than 1, each is divided by the sum.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        super().__init__()
        total = max(1.0, sum(shares.values()))
        if total > 1.0:
            logger.info("Shares of the gradient add up to %g: each is divided by that", total)
        self.shares = {name: share / total for name, share in shares.items()}
        self.probing = False
        self._asked = np.array(list(self.shares.values()))
        self._sum: Tensor | None = None
        self._parts = 0
        count = len(self.shares)
        for name in ("cosines", "against", "weights", "first"):
            self.register_buffer(name, paddle.zeros([count], "float64"))
        for name in ("log_norms", "probes"):
            self.register_buffer(name, paddle.zeros([1 + count], "float64"))

    def begin(self, epoch: float, step: int) -> None:
        """Before the update ``step``: decide whether it is looked at, and change weights where an epoch begins."""
        self._sum, self._parts = None, 0
        unseen = step == 0 and not self.probes.numpy().any()
        self.probing = unseen or 0 < step < FIRST or (step > 0 and step % EVERY == 0)
        self._step = step
        if epoch == int(epoch) and step >= FIRST:
            self._adjust()

    def weight(self, name: str) -> Tensor:
        """The weight of that loss, a float32 scalar."""
        return self.weights[list(self.shares).index(name)].astype("float32")

    def add(self, rows: Tensor) -> None:
        """Take in gradients float32 [1 + losses, numbers] of one accumulated batch: the task's, and each loss's."""
        self._sum = rows if self._sum is None else self._sum + rows
        self._parts += 1
        if self._parts == accumulated():
            self._settle(processes.mean(self._sum / self._parts))
            self._sum = None

    def standing(self) -> dict[str, Standing]:
        """How each loss stands, by name; without a schedule. This waits for the device."""
        weights, norms, cosines = self.weights.numpy(), self.log_norms.numpy(), self.cosines.numpy()
        counts, against = self.probes.numpy()[1:], self.against.numpy()
        shares = weights * np.exp(norms[1:] - norms[0])
        return {
            name: Standing(
                float(weights[i]),
                float(shares[i]),
                float(cosines[i]),
                float(against[i] / max(counts[i], 1.0)),
                int(counts[i]),
            )
            for i, name in enumerate(self.shares)
        }

    def _settle(self, rows: Tensor) -> None:
        """Remember the gradients of an update; one transfer from the device."""
        products = paddle.concat([(rows * rows).sum(axis=1), paddle.mv(rows[1:], rows[0])]).numpy().astype("float64")
        norms, dots = np.sqrt(products[: rows.shape[0]]), products[rows.shape[0] :]
        fine = np.isfinite(norms) & (norms > 0)
        fine[1:] &= fine[0]
        probes = self.probes.numpy() + fine
        rate = np.maximum(MEMORY, 1.0 / np.maximum(probes, 1.0)) * fine
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(fine, np.log(norms), 0.0)
            cosines = np.where(fine[1:], dots / (norms[1:] * norms[0]), 0.0)
        self.log_norms.set_value((1.0 - rate) * self.log_norms.numpy() + rate * logs)
        self.cosines.set_value((1.0 - rate[1:]) * self.cosines.numpy() + rate[1:] * cosines)
        self.against.set_value(self.against.numpy() + (fine[1:] & (dots < 0)))
        self.probes.set_value(probes)
        self._start(probes[1:] > 0)

    def _start(self, known: np.ndarray) -> None:
        """Set weights that are 0 still, and after the first looks those to begin from."""
        weights, first, norms = self.weights.numpy(), self.first.numpy(), self.log_norms.numpy()
        wanted = self._asked * np.exp(norms[0] - norms[1:])
        starting = known & (first == 0) & (self._step >= FIRST - 1)
        self.weights.set_value(np.where(starting | (known & (weights == 0)), wanted, weights))
        self.first.set_value(np.where(starting, wanted, first))

    def _adjust(self) -> None:
        """Bring shares that have left their band to its nearer edge, within the bounds."""
        weights, first, norms = self.weights.numpy(), self.first.numpy(), self.log_norms.numpy()
        shares = weights * np.exp(norms[1:] - norms[0])
        nearest = np.clip(shares, self._asked / BAND, self._asked * BAND)
        factor = np.clip(nearest / np.where(shares > 0, shares, 1.0), LEAST_FACTOR, MOST_FACTOR)
        changed = np.clip(weights * factor, FLOOR * first, CEILING * first)
        self.weights.set_value(np.where((first > 0) & (nearest != shares), changed, weights))
