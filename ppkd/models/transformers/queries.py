"""What passes between a transformer, its losses and its detector."""

from __future__ import annotations

from dataclasses import dataclass, field

from paddle import Tensor
from paddle.nn import functional as F

from ppkd.models.casting import full_precision


@dataclass(frozen=True)
class Boxes:
    """The ground truth in shares of the image: ``boxes`` float32 [N, M, 4] cx, cy, w, h, ``labels`` int64 [N, M].

    ``real`` bool [N, M] tells which are no padding; padding has zeros.
    """

    boxes: Tensor
    labels: Tensor
    real: Tensor


@dataclass(frozen=True)
class Selection:
    """The cells of the encoder that become queries, Q of P.

    Attributes:
        index: int64 [N, Q], which cells, level by level and row by row, best first.
        content: float [N, Q, channels].
        references: float32 [N, Q, 4], the logits of cx, cy, w, h.
        logits: float [N, Q, C] of classes.
    """

    index: Tensor
    content: Tensor
    references: Tensor
    logits: Tensor

    @property
    def boxes(self) -> Tensor:
        """What the ``references`` mean: cx, cy, w, h in 0..1, float32 [N, Q, 4]."""
        with full_precision():
            return F.sigmoid(self.references)


@dataclass(frozen=True)
class Answers:
    """Class ``logits`` [N, Q, C] and ``boxes`` [N, Q, 4], cx, cy, w, h in 0..1, of each decoder layer.

    ``queries`` [N, Q, channels] are what the layer made both of, where that is known.
    """

    logits: list[Tensor]
    boxes: list[Tensor]
    queries: list[Tensor] = field(default_factory=list)

    def rows(self, start: int | None, stop: int | None) -> Answers:
        """Those of the queries from ``start`` to ``stop``."""
        parts = ([one[:, start:stop] for one in stages] for stages in (self.logits, self.boxes, self.queries))
        return Answers(*parts)
