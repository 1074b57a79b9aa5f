"""Binary cross-entropy of logits."""

from __future__ import annotations

from paddle import Tensor
from paddle.nn import functional as F


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of sigmoid(``logits``) and ``targets``, element by element: its gradient is sigmoid(x) - t.

    Args:
        logits: float [...]; any size of number is safe.
        targets: float32 [...] of the same shape, between 0 and 1. A gradient flows to them unless they are detached.

    Returns:
        float32 [...].
    """
    # Paddle 3.3.1's binary_cross_entropy_with_logits has the gradient -0.5 - t instead of 0.5 - t at a logit of 0.
    logits = logits.astype("float32")
    return F.softplus(logits) - logits * targets
