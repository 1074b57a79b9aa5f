"""What the losses share that compare distributions in the regions of localisation distillation."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, Unpack

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.distill.cells.regions import RegionFinder, Regions
from ppkd.distill.divergence import KnowledgeDistillationKLDivLoss
from ppkd.distill.explanation import CellMap, Explanation, Lines
from ppkd.distill.loss import DistillLoss, Needs, Wiring
from ppkd.distill.side import Progress, Side
from ppkd.models.postprocess.dense_decode import by_anchor
from ppkd.structures import DetectorSpec, Record
from ppkd.structures.truth import Truth

Region = Literal["main", "valuable"]
EPS = 1e-12
OWNERS, SIDES = ("student", "teacher"), ("left", "top", "right", "bottom")
_READ_REGION = "The cells in which the loss compares distributions, by their weight; dark ones do not count."
_READ_DIVERGENCE = (
    "How far the student's distributions are from the teacher's in the cells that count: what is left to teach."
)
_READ_BINS = (
    "What either side believes, where the region weighs most: the loss moves the student's line onto the teacher's, a "
    "broad or two-peaked one says how unsure the teacher is."
)


class RegionKD(DistillLoss):
    """The sum over all distributions of one entry of weight times :class:`KnowledgeDistillationKLDivLoss`.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        region: where to distil.
        T: temperature.
        finder: how the regions are found; the defaults are those of the published numbers.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: one of the two does not record the entry cell by cell, its channels or anchors differ, or the student
            assigns nothing.
    """

    paper = "2102.12252"
    needs_truth = True
    entry: ClassVar[str]
    """What of both records is compared."""
    parts: ClassVar[int] = 1
    """How many distributions an anchor has in that entry."""

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        region: Region,
        T: float,
        finder: RegionFinder | None,
        **wiring: Unpack[Wiring],
    ) -> None:
        needs = Needs(student=("assign",))
        super().__init__(student, teacher, consumes=[self.entry], needs=needs, kind="grid", **wiring)
        self.region = region
        self.finder = finder or RegionFinder()
        self.strides = student.entries[self.entry].strides
        self.formula = KnowledgeDistillationKLDivLoss(reduction="sum", T=T)

    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar."""
        levels, soft_levels = student.record[self.entry], teacher.record[self.entry]
        weights = self._weights(student, truth)
        pairs = self.pairs[self.entry]
        return self.formula(
            paddle.concat([self._rows(levels[pair.student]) for pair in pairs]),
            paddle.concat([self._rows(soft_levels[pair.teacher]) for pair in pairs]),
            weight=paddle.concat([weights[pair.student] for pair in pairs]),
        )

    @paddle.no_grad()
    def explain(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Explanation:
        """The region with its weights, how far the distributions are apart, and both in the cell of most weight."""
        levels, weights = student.record[self.entry], self._weights(student, truth)
        shown = Explanation()
        for pair in self.pairs[self.entry]:
            images, _, _, height, width = levels[pair.student].shape
            own, wanted = (
                F.softmax(self._rows(one), axis=1)
                for one in (levels[pair.student], teacher.record[self.entry][pair.teacher])
            )
            apart = (wanted * ((wanted + EPS).log() - (own + EPS).log())).sum(axis=1)
            by_cell = [one.reshape([images, height, width, -1]) for one in (weights[pair.student], apart)]
            region = by_cell[0].max(axis=-1)
            counted = by_cell[1].sum(axis=-1) * (region > 0).astype("float32")
            shown += Explanation(
                [
                    CellMap(f"{self.region} region", pair.stride, region, _READ_REGION),
                    CellMap("divergence", pair.stride, counted, _READ_DIVERGENCE, "divergence", disagrees=True),
                ],
                self._in_best_cells(pair.stride, region, own, wanted),
            )
        return shown

    def _in_best_cells(self, stride: int, region: Tensor, own: Tensor, wanted: Tensor) -> list[Lines]:
        """The distributions [N * H * W * ..., bins] in the cell of each image that weighs most, if any does."""
        images, height, width = region.shape
        each = [one.reshape([images, height * width, -1, one.shape[-1]]) for one in (own, wanted)]
        found = []
        for image, weights in enumerate(region.flatten(1)):
            if weights.max().item() > 0:
                cell = int(weights.argmax())
                place = f"cell {cell % width}, {cell // width}"
                for part in range(self.parts):
                    lines = {name: one[image, cell, part] for name, one in zip(OWNERS, each, strict=True)}
                    title = f"{SIDES[part] if self.parts > 1 else self.entry} in {place}"
                    found.append(Lines(title, image, stride, lines, "bins", _READ_BINS))
        return found

    def _weights(self, student: Side, truth: Truth) -> list[Tensor]:
        """:meth:`weights` of the regions around the boxes of ``truth``."""
        sizes = [level.shape[-2:] for level in student.record[self.entry]]
        return self.weights(student.record, self.finder(sizes, self.strides, student, truth))

    @abstractmethod
    def weights(self, record: Record, regions: Regions) -> list[Tensor]:
        """The weight of every distribution of the student's ``record``, float32 [N * H * W * A * parts] per level.

        They are without gradient.
        """

    def _rows(self, level: Tensor) -> Tensor:
        """The distributions [N * H * W * A * parts, n] of a level [N, A, parts * n, H, W]."""
        return by_anchor(level).reshape([-1, level.shape[2] // self.parts])
