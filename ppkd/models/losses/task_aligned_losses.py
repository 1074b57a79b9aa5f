"""What trains a head whose targets say how well each cell is to score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paddle import Tensor

from ppkd.models.losses.normaliser import over_batch
from ppkd.models.losses.side_losses import SideLosses
from ppkd.models.losses.varifocal_loss import VarifocalLoss

if TYPE_CHECKING:
    from ppkd.models.assigners.cell_targets import RatedTargets
    from ppkd.models.heads.integral import SideDistributions


@dataclass(frozen=True)
class TaskAlignedLosses:
    """A loss of classes and one of boxes with distributions; ``names`` of the three terms, classes first."""

    classes: VarifocalLoss
    sides: SideLosses
    names: tuple[str, str, str]

    def __call__(
        self, distributions: SideDistributions, logits: Tensor, sides: Tensor, targets: RatedTargets
    ) -> dict[str, Tensor]:
        """The terms of ``logits`` [N, P, C] and ``sides`` [N, P, 4 * (reg_max + 1)].

        They are divided by the sum of all ratings, 1 at least.
        """
        total = over_batch(targets.rating.sum(), least=1)
        terms = self.sides(distributions, sides, targets.rating, targets)
        values = (self.classes(logits, targets.labels, targets.rating), terms.box, terms.distribution)
        return {name: value / total for name, value in zip(self.names, values, strict=True)}
