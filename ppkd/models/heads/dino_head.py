"""What trains queries, under the name of PaddleDetection's component."""

from __future__ import annotations

from paddle import nn

from ppkd.config import register
from ppkd.models.losses.dino_loss import DINOLoss


@register(inject=("loss",), without_effect=("eval_idx",))
class DINOHead(nn.Layer):
    """Holds the ``loss``: classes and boxes of queries come from the transformer's own heads."""

    def __init__(self, *, loss: DINOLoss):
        super().__init__()
        self.loss = loss
