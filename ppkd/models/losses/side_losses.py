"""What trains boxes whose sides are distributions (Li et al., arXiv:2006.04388)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paddle import Tensor

from ppkd.models.losses.distribution_focal_loss import DistributionFocalLoss
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.structures.boxes import decode_distances, encode_distances

if TYPE_CHECKING:
    from ppkd.models.assigners.cell_targets import CellTargets
    from ppkd.models.heads.integral import SideDistributions


@dataclass(frozen=True)
class SideTerms:
    """``box`` and ``distribution``, weighted sums; ``predicted`` and ``wanted`` boxes [N, P, 4], corners in strides."""

    box: Tensor
    distribution: Tensor
    predicted: Tensor
    wanted: Tensor


@dataclass(frozen=True)
class SideLosses:
    """A loss of boxes and one of the distributions behind them.

    Target distances end ``last_bin_margin`` strides below the last bin, so that a bin lies on both sides of them.
    """

    box: GIoULoss
    distribution: DistributionFocalLoss
    last_bin_margin: float

    def __call__(
        self, distributions: SideDistributions, sides: Tensor, weight: Tensor, targets: CellTargets
    ) -> SideTerms:
        """The terms of ``sides`` [N, P, 4 * (reg_max + 1)]; ``weight`` float32 [N, P], 0 where no box is.

        Boxes are compared in strides.
        """
        strides = targets.points[:, 2:]
        points, wanted = targets.points[:, :2] / strides, targets.boxes / strides
        boxes = decode_distances(points, distributions(sides))
        distances = encode_distances(points, wanted).clip(0, distributions.reg_max - self.last_bin_margin)
        # The four sides of a box share its weight: the published term is a mean over them.
        distribution = self.distribution(distributions.split(sides), distances, weight.unsqueeze(-1) / 4)
        return SideTerms(self.box(boxes, wanted, weight), distribution, boxes, wanted)
