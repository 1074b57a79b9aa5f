"""Imitation of the teacher's neck in chosen cells, as it accompanies localisation distillation."""

from __future__ import annotations

from typing import Literal, Unpack

from paddle import Tensor, nn

from ppkd.config import register
from ppkd.distill.cells.regions import RegionFinder, Regions
from ppkd.distill.general_instances import general_instances
from ppkd.distill.level_loss import LevelLoss
from ppkd.distill.loss import Needs, Wiring
from ppkd.distill.maps import align_conv
from ppkd.distill.means import masked_mean
from ppkd.distill.pairing import common_levels
from ppkd.distill.side import Progress, Side
from ppkd.models.losses.normaliser import over_batch
from ppkd.structures import DetectorSpec, Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

BACKGROUND = 2.0
"""Factor on the cells outside of boxes under ``decouple``."""


@register
class FeatureImitation(LevelLoss):
    """Mean squared difference of two necks over the chosen cells of each level, summed over levels.

    A level where no cell is assigned to a box gives 0, as published (Zheng et al., arXiv 2204.05957).

    Args:
        student: what the student records.
        teacher: what the teacher records; where channels differ, a 1x1 convolution aligns the student's.
        region: the cells. ``finegrained``: those whose anchor overlaps a box more than half as much as its best anchor
            (arXiv 1906.03609). ``fitnet``: those inside of a box. ``decouple``: the same, plus twice the mean over
            those outside (DeFeat, arXiv 2103.14475). ``gibox``: those where the two detectors disagree most
            (:func:`general_instances`); it also reads class logits and box distributions, one of each per cell.
        finder: how regions are found; the defaults are those of the published numbers.
        wiring: see :class:`Wiring`. Published weights are 0.2 to 2.

    Raises:
        SpecError: one of the two does not record what the region needs.
    """

    paper = "2204.05957"
    needs_truth = True
    default_weight = 2.0

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        region: Literal["finegrained", "fitnet", "decouple", "gibox"] = "finegrained",
        finder: RegionFinder | None = None,
        **wiring: Unpack[Wiring],
    ) -> None:
        consumes = ["neck", "cls_logits", "box_dist"] if region == "gibox" else ["neck"]
        needs = Needs(student=("assign",))
        super().__init__(student, teacher, consumes=consumes, needs=needs, kind="grid", **wiring)
        self.region = region
        self.finder = finder or RegionFinder()
        self.levels = common_levels(type(self).__name__, self.pairs, student, teacher)
        if region == "gibox":
            _require_instances(student)
        self.strides = student.entries["neck"].strides
        channels = dict(zip((pair.stride for pair in self.pairs["neck"]), self.channels["neck"], strict=True))
        aligns = [align_conv(*channels[neck.stride]) for neck, *_ in self.levels]
        self.aligns = nn.LayerList([align or nn.Identity() for align in aligns])

    @property
    def level_strides(self) -> list[int]:
        """The strides of the compared levels."""
        return [neck.stride for neck, *_ in self.levels]

    def values(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> list[Tensor]:
        """The value of each level."""
        maps, soft_maps = student.record["neck"], teacher.record["neck"]
        regions = self.finder([level.shape[-2:] for level in maps], self.strides, student, truth)
        assigned = regions.main()
        cells = self._cells(student.record, teacher.record, regions)
        losses = []
        for align, (neck, *_), chosen in zip(self.aligns, self.levels, cells, strict=True):
            gap = align(maps[neck.student]) - soft_maps[neck.teacher].detach()
            error = (gap * gap).mean(axis=1).flatten(1)
            value = masked_mean(error, chosen)
            if self.region == "decouple":
                value = value + BACKGROUND * masked_mean(error, ~chosen)
            losses.append(value * (over_batch(assigned[neck.student].astype("float32").sum()) > 0).astype("float32"))
        return losses

    def _cells(self, student: Record, teacher: Record, regions: Regions) -> list[Tensor]:
        """The chosen cells of every compared level, bool [N, H * W]."""
        if self.region == "gibox":
            return [
                general_instances(
                    (student["cls_logits"][logits.student], student["box_dist"][sides.student]),
                    (teacher["cls_logits"][logits.teacher], teacher["box_dist"][sides.teacher]),
                )
                for _, logits, sides in self.levels
            ]
        found = regions.fine_grained() if self.region == "finegrained" else regions.inside()
        return [found[neck.student] for neck, *_ in self.levels]


def _require_instances(student: DetectorSpec) -> None:
    """Raise :class:`SpecError` unless :func:`general_instances` can read what the student records.

    What of the teacher pairs with it is alike.
    """
    student.require_activation("cls_logits", "sigmoid", "FeatureImitation with the region gibox")
    if any(level.anchors > 1 for name in ("cls_logits", "box_dist") for level in student.entries[name].levels):
        raise SpecError(
            f"FeatureImitation.region is gibox, which compares one box per cell, but {student.name} has several: "
            "choose finegrained, fitnet or decouple"
        )
