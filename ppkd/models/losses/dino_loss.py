"""The losses of queries (Zhang et al., "DINO", arXiv:2203.03605; Zhao et al., "RT-DETR", arXiv:2304.08069)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.models.assigners.hungarian_matcher import HungarianMatcher
from ppkd.models.layers.select import take_rows
from ppkd.models.losses.focal_loss import FocalLoss
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.varifocal_loss import VarifocalLoss
from ppkd.models.transformers.queries import Answers, Boxes
from ppkd.structures.boxes import cxcywh_to_xyxy, paired_overlap

TERMS = ("class", "bbox", "giou")


@dataclass(frozen=True)
class QueryTargets:
    """What the queries of one stage are to answer.

    Attributes:
        labels: int64 [N, Q], C for nothing.
        boxes: float32 [N, Q, 4], cx, cy, w, h in shares of the image; those of queries without a label do not count.
    """

    labels: Tensor
    boxes: Tensor


@register(shared=("num_classes", "use_focal_loss"), inject=("matcher",))
class DINOLoss(nn.Layer):
    """Losses of classes and boxes for each stage with an assignment of its own, and for queries that denoise.

    ``loss_coeff`` multiplies the terms: ``class``, with ``use_vfl`` the varifocal loss whose rating is the overlap,
    else the focal loss; ``bbox``, the sum of differences; ``giou``. Terms are sums over queries divided by the number
    of boxes. ``aux_loss`` trains all stages, else the last one alone.
    """

    def __init__(
        self,
        *,
        matcher: HungarianMatcher,
        num_classes: int = 80,
        loss_coeff: Mapping[str, float] = {"class": 1, "bbox": 5, "giou": 2},
        aux_loss: bool = True,
        use_focal_loss: Literal[True] = True,
        use_vfl: bool = False,
        vfl_iou_type: Literal["bbox"] = "bbox",
    ):
        super().__init__()
        self.num_classes = num_classes
        self.matcher = matcher
        self.coefficients = dict(loss_coeff)
        self.aux_loss = aux_loss
        self.varifocal = VarifocalLoss() if use_vfl else None
        self.focal, self.giou = FocalLoss(), GIoULoss()

    def match(self, answers: Answers, truth: Boxes) -> list[QueryTargets]:
        """The targets of every stage of ``answers``."""
        owners = self.matcher(paddle.stack(answers.logits), paddle.stack(answers.boxes), truth)
        return [self._targets(owner, truth) for owner in owners]

    def _targets(self, owner: Tensor, truth: Boxes) -> QueryTargets:
        index = owner.clip(min=0)
        labels = paddle.take_along_axis(truth.labels, index, axis=1, broadcast=False)
        nothing = paddle.full([], self.num_classes, "int64")
        return QueryTargets(paddle.where(owner < 0, nothing, labels), take_rows(truth.boxes, index))

    def forward(
        self, answers: Answers, targets: list[QueryTargets], boxes: Tensor, suffix: str = ""
    ) -> dict[str, Tensor]:
        """``loss_class``, ``loss_bbox`` and ``loss_giou`` of the last stage, and with ``_aux`` sums over the others.

        ``boxes`` is the number of boxes that the terms are divided by, float32 []; ``suffix`` ends every name.
        """
        first = 0 if self.aux_loss else len(targets) - 1
        stages = [
            self.stage(answers.logits[i], answers.boxes[i], targets[i], boxes) for i in range(first, len(targets))
        ]
        terms = {f"loss_{name}{suffix}": stages[-1][name] for name in TERMS}
        if self.aux_loss:
            terms |= {f"loss_{name}_aux{suffix}": paddle.add_n([one[name] for one in stages[:-1]]) for name in TERMS}
        return terms

    def stage(self, logits: Tensor, boxes: Tensor, targets: QueryTargets, total: Tensor) -> dict[str, Tensor]:
        """The terms of one stage's ``logits`` [N, Q, C] and ``boxes`` [N, Q, 4], by what they are about."""
        positive = (targets.labels < self.num_classes).astype("float32")
        corners, wanted = cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets.boxes)
        values = {
            "class": self._classes(logits, targets.labels, corners.detach(), wanted),
            "bbox": ((boxes - targets.boxes).abs().sum(axis=-1) * positive).sum(),
            "giou": self.giou(corners, wanted, positive),
        }
        return {name: self.coefficients[name] * value / total for name, value in values.items()}

    def _classes(self, logits: Tensor, labels: Tensor, corners: Tensor, wanted: Tensor) -> Tensor:
        if self.varifocal is None:
            return self.focal(logits, labels)
        shared, union = paired_overlap(corners, wanted)
        return self.varifocal(logits, labels, shared / union.clip(min=1e-9))
