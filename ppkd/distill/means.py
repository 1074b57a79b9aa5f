"""Means over what a mask chooses, in the whole batch of an update."""

from __future__ import annotations

from paddle import Tensor

from ppkd.models.losses.normaliser import over_batch


def masked_mean(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean of ``values`` over the places that are ``chosen``, bool or float32 of the same shape; 0 without any."""
    weight = chosen.astype("float32")
    return (values * weight).sum() / over_batch(weight.sum(), least=1)


def half_mean(error: Tensor, mask: Tensor, channels: int = 1) -> Tensor:
    """Half of the mean of ``error`` [N, H, W] over the ``mask``'s cells, each counted as ``channels`` numbers.

    0 where the mask is empty.
    """
    return (error * mask).sum() / over_batch(2.0 * channels * mask.sum(), least=1)
