"""Classification distillation in the regions of localisation distillation."""

from __future__ import annotations

from typing import Unpack

from paddle import Tensor

from ppkd.config import register
from ppkd.distill.cells.regions import RegionFinder, Regions
from ppkd.distill.loss import Wiring
from ppkd.distill.region_kd import Region, RegionKD
from ppkd.models.losses.normaliser import over_batch
from ppkd.structures import DetectorSpec, Record


@register
class ClassKD(RegionKD):
    """Hinton's divergence of class logits as LD has it: a mean over the region of each level, summed over levels.

    The logits go through a softmax over classes, also those of heads whose own activation is a sigmoid (Zheng et al.,
    arXiv 2102.12252). All anchors of a cell are in its region. A single class has nothing to distil this way.

    Args:
        student: what the student records.
        teacher: what the teacher records, with the same classes and anchors.
        region: ``main``, the cells that are assigned to a box, or ``valuable``, those of the valuable localisation
            region, which the published code computes with the weight 0.
        T: temperature.
        finder: how the regions are found; the defaults are those of the published numbers.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: one of the two records no class logits cell by cell, or classes or anchors differ.
    """

    default_weight = 10.0
    entry = "cls_logits"

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        region: Region = "main",
        T: float = 2.0,
        finder: RegionFinder | None = None,
        **wiring: Unpack[Wiring],
    ) -> None:
        super().__init__(student, teacher, region=region, T=T, finder=finder, **wiring)

    def weights(self, record: Record, regions: Regions) -> list[Tensor]:
        """The share of each anchor in the mean over those of the region's cells."""
        cells = regions.main() if self.region == "main" else [value > 0 for value in regions.valuable()]
        levels = zip(cells, record[self.entry], strict=True)
        return [_shares(chosen, logits.shape[1]) for chosen, logits in levels]


def _shares(cells: Tensor, anchors: int) -> Tensor:
    """The weight of each of the anchors of the ``cells`` bool [N, H * W] in a mean over the true ones."""
    chosen = cells.astype("float32").flatten().repeat_interleave(anchors)
    return chosen / over_batch(chosen.sum(), least=1)
