"""One query for every box, at the least cost (Carion et al., "DETR", arXiv:2005.12872, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import paddle
from paddle import Tensor
from paddle.nn import functional as F
from scipy.optimize import linear_sum_assignment

from ppkd.config import register
from ppkd.models.losses.giou_loss import giou_distance
from ppkd.models.transformers.queries import Boxes
from ppkd.structures.boxes import cxcywh_to_xyxy

WORST = 1e6
"""The cost of a query whose numbers are not finite: a diverged step is reported as such, not by the assignment."""
LOG_EPS = 1e-8


@register(shared=("use_focal_loss",))
class HungarianMatcher:
    """The assignment of the least sum of costs, for every decoder layer on its own.

    ``matcher_coeff`` multiplies the costs: ``class``, the focal loss (``alpha``, ``gamma``) of the box's class as
    target less that of it as background; ``bbox``, the sum of differences of cx, cy, w, h; ``giou``, minus the
    generalised overlap.
    """

    def __init__(
        self,
        *,
        matcher_coeff: Mapping[str, float] = {"class": 1, "bbox": 5, "giou": 2},
        use_focal_loss: Literal[True] = True,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ):
        self.coefficients = dict(matcher_coeff)
        self.alpha = alpha
        self.gamma = gamma

    @paddle.no_grad()
    def __call__(self, logits: Tensor, boxes: Tensor, truth: Boxes) -> Tensor:
        """Which of the M boxes each query is to answer, int64 [S, N, Q], -1 for none.

        Args:
            logits: float32 [S, N, Q, C] of S stages.
            boxes: float32 [S, N, Q, 4], cx, cy, w, h in shares of the image.
            truth: the ground truth.
        """
        return least_cost(self.costs(logits, boxes, truth), truth.real)

    def costs(self, logits: Tensor, boxes: Tensor, truth: Boxes) -> Tensor:
        """What it costs that a query answers a box, float32 [S, N, Q, M]; arguments as for the call."""
        chances = F.sigmoid(logits)
        labels = truth.labels.unsqueeze(1).unsqueeze(0).expand([chances.shape[0], -1, chances.shape[2], -1])
        chance = paddle.take_along_axis(chances, labels, axis=-1, broadcast=False)
        positive = self.alpha * (1 - chance) ** self.gamma * -(chance + LOG_EPS).log()
        negative = (1 - self.alpha) * chance**self.gamma * -(1 - chance + LOG_EPS).log()
        answered, wanted = boxes.unsqueeze(3), truth.boxes.unsqueeze(1).unsqueeze(0)
        terms = {
            "class": positive - negative,
            "bbox": (answered - wanted).abs().sum(axis=-1),
            "giou": giou_distance(cxcywh_to_xyxy(answered), cxcywh_to_xyxy(wanted)) - 1,
        }
        return paddle.add_n([self.coefficients[name] * cost for name, cost in terms.items()])


def least_cost(costs: Tensor, real: Tensor) -> Tensor:
    """The columns of the rows in the assignments of the least sum, int64 [S, N, Q], -1 for none.

    Args:
        costs: float32 [S, N, Q, M] of S stages.
        real: which columns count, bool [N, M].
    """
    costs = paddle.where(paddle.isfinite(costs), costs, paddle.full([], WORST))
    # Infinite columns tell padding from boxes, so that all that the host needs comes in one transfer.
    columns = real.unsqueeze(1).unsqueeze(0)
    return paddle.to_tensor(_assigned(paddle.where(columns, costs, paddle.full([], float("inf"))).numpy()))


def _assigned(costs: np.ndarray) -> np.ndarray:
    """The column of every row, int64 [S, N, Q], -1 for none, of ``costs`` float32 [S, N, Q, M]."""
    owner = np.full(costs.shape[:3], -1, np.int64)
    for image in range(costs.shape[1]):
        columns = np.flatnonzero(costs[0, image, 0] < np.inf)
        for stage in range(costs.shape[0] if len(columns) else 0):
            rows, picked = linear_sum_assignment(costs[stage, image][:, columns])
            owner[stage, image, rows] = columns[picked]
    return owner
