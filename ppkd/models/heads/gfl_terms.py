"""From distributions of box sides to boxes and to the terms that train them (Li et al., arXiv:2006.04388)."""

from __future__ import annotations

from dataclasses import dataclass

from paddle import Tensor

from ppkd.models.assigners.cell_targets import CellTargets
from ppkd.models.heads.integral import Integral
from ppkd.models.losses.distribution_focal_loss import DistributionFocalLoss
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.normaliser import over_batch
from ppkd.structures.boxes import decode_distances, encode_distances, paired_overlap

LAST_BIN_MARGIN = 0.1
"""Target distances end so much below the last bin, in strides."""

EPS = 1e-6


@dataclass(frozen=True)
class BoxTerms:
    """``quality`` float32 [N, P], each positive cell's overlap with its box, and the scalar ``terms``."""

    quality: Tensor
    terms: dict[str, Tensor]


def decode_cells(integral: Integral, sides: Tensor, points: Tensor) -> Tensor:
    """Corner boxes float32 [..., 4] in pixels of ``sides`` [..., 4 * (reg_max + 1)] at ``points`` [..., 3]."""
    return decode_distances(points[..., :2], integral(sides) * points[..., 2:])


@dataclass(frozen=True)
class BoxLosses:
    """``loss_bbox`` and ``loss_dfl``, each a mean over positive cells that the cells' best scores weight."""

    integral: Integral
    box: GIoULoss
    distribution: DistributionFocalLoss

    def __call__(self, sides: Tensor, weight: Tensor, targets: CellTargets) -> BoxTerms:
        """The terms of ``sides`` [N, P, 4 * (reg_max + 1)]; ``weight`` float32 [N, P], 0 where no box is.

        Boxes are compared in strides.
        """
        strides = targets.points[:, 2:]
        points, wanted = targets.points[:, :2] / strides, targets.boxes / strides
        boxes = decode_distances(points, self.integral(sides))
        shared, union = paired_overlap(boxes.detach(), wanted)
        limit = self.integral.reg_max - LAST_BIN_MARGIN
        distances = encode_distances(points, wanted).clip(0, limit)
        total = over_batch(weight.sum()).clip(min=EPS)
        terms = {
            "loss_bbox": self.box(boxes, wanted, weight) / total,
            "loss_dfl": self.distribution(self.integral.split(sides), distances, weight.unsqueeze(-1) / 4) / total,
        }
        return BoxTerms(targets.positive * shared / union.clip(min=EPS), terms)
