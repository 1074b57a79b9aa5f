"""Weight schedules against values worked out by hand."""

from __future__ import annotations

import pytest

from ppkd.distill import WeightSchedule


@pytest.mark.parametrize(
    ("settings", "factors"),
    [
        ({}, {0: 1, 7.5: 1, 1000: 1}),
        ({"warmup_epochs": 2}, {0: 0, 0.5: 0.25, 2: 1, 9: 1}),
        ({"stop_epoch": 3}, {0: 1, 2.99: 1, 3: 0, 9: 0}),
        ({"decay": "linear", "stop_epoch": 8}, {0: 1, 1: 0.875, 2.5: 0.6875, 6: 0.25, 7: 0.125, 8: 0, 9: 0}),
        ({"decay": "linear", "stop_epoch": 8, "by_epoch": True}, {0.9: 1, 2.5: 0.75, 7.99: 0.125, 8: 0}),
        ({"decay": "cosine", "stop_epoch": 6}, {0: 1, 1: 0.9330127, 2: 0.75, 3: 0.5, 4: 0.25, 5: 0.0669873, 6: 0}),
        ({"decay": "cosine", "stop_epoch": 6, "floor": 0.1}, {0: 1, 2: 0.775, 3: 0.55, 4: 0.325, 5.9999: 0.1, 6: 0}),
        ({"decay": "linear", "stop_epoch": 8, "floor": 0.2}, {0: 1, 2: 0.8, 4: 0.6, 7: 0.3}),
        # t = 12 // 4 = 3: a rise of 1/3 per epoch to 2, then a fall of 2/9 per epoch.
        ({"decay": "up_down", "stop_epoch": 12}, {0: 1, 1: 4 / 3, 2: 5 / 3, 3: 2, 4: 16 / 9, 7.5: 1, 11: 2 / 9, 12: 0}),
        # t = 10 // 4 = 2, not 2.5.
        ({"decay": "up_down", "stop_epoch": 10}, {1: 1.5, 2: 2, 3: 1.75, 9: 0.25}),
        ({"decay": "up_down", "stop_epoch": 10, "by_epoch": True}, {1.9: 1.5, 2.9: 2, 9.9: 0.25}),
        # t = 3 // 4 = 0: there is no rise.
        ({"decay": "up_down", "stop_epoch": 3}, {0: 2, 1: 4 / 3, 2: 2 / 3, 3: 0}),
        ({"warmup_epochs": 4, "decay": "linear", "stop_epoch": 8}, {0: 0, 2: 0.375, 4: 0.5, 6: 0.25}),
        # The warm-up stays continuous where the decay is not.
        ({"warmup_epochs": 4, "decay": "linear", "stop_epoch": 8, "by_epoch": True}, {2.5: 0.46875, 6.5: 0.25}),
    ],
)
def test_factors(settings, factors):
    schedule = WeightSchedule(**settings)
    assert {epoch: schedule.factor(epoch) for epoch in factors} == pytest.approx(factors, abs=1e-7)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"warmup_epochs": -1}, "warmup_epochs is -1: give 0 or more"),
        ({"decay": "linear"}, "decay is linear, which ends at stop_epoch"),
        ({"decay": "up_down"}, "decay is up_down, which ends at stop_epoch"),
        ({"stop_epoch": 0}, "stop_epoch is 0: give a number above 0"),
        ({"decay": "cosine", "stop_epoch": 6, "floor": 1.5}, "floor is 1.5: give a number from 0 to 1"),
        ({"floor": 0.1}, "floor is 0.1, but decay is none: only linear and cosine have a floor"),
        ({"decay": "up_down", "stop_epoch": 6, "floor": 0.1}, "but decay is up_down: only linear and cosine"),
    ],
)
def test_settings_that_do_not_fit(settings, words):
    with pytest.raises(ValueError, match=words):
        WeightSchedule(**settings)
