"""What losses divide by, where a batch is in parts and holds little."""

from __future__ import annotations

import paddle
import pytest
from parts import in_parts

from ppkd.distill.means import half_mean, masked_mean
from ppkd.models.losses.normaliser import over_batch, parts, sum_over_batch

ERROR = paddle.to_tensor([[[2.0, 4.0]], [[6.0, 8.0]]])


@pytest.mark.parametrize("chosen", [[[0.0, 0.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
@pytest.mark.parametrize("mean", [masked_mean, half_mean])
def test_means_over_few_places_are_those_of_the_large_batch(mean, chosen):
    """One place in two parts is not half a place, which would count as one."""
    mask = paddle.to_tensor(chosen).unsqueeze(1)
    whole = mean(ERROR, mask).item()
    assert in_parts(mean, [(ERROR[i : i + 1], mask[i : i + 1]) for i in range(2)]).item() == pytest.approx(whole)


def test_a_normaliser_below_the_least_counts_as_the_least_of_the_whole_batch():
    weight = paddle.to_tensor([0.2, 0.4])
    value = in_parts(lambda one: one / over_batch(one, least=1), [(weight[0],), (weight[1],)])
    assert value.item() == pytest.approx(0.6)


def test_a_single_part_is_left_as_it_is():
    one = paddle.to_tensor(3.0)
    assert parts() == 1
    assert sum_over_batch(one) is one
