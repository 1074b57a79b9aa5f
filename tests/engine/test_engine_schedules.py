from __future__ import annotations

import logging
import math

import pytest

from ppkd.config import load_config
from ppkd.engine.schedules import (
    CosineDecay,
    ExpWarmup,
    LearningRate,
    LinearWarmup,
    PiecewiseDecay,
    build_learning_rate,
)
from ppkd.utils.errors import ConfigError


def rates(schedulers, base_lr=0.1, steps_per_epoch=10):
    return LearningRate(base_lr=base_lr, schedulers=schedulers).schedule(steps_per_epoch)


def test_warmup_is_a_line_from_the_start_factor_to_the_base_rate():
    rate = rates([PiecewiseDecay(gamma=0.1, milestones=[2, 3]), LinearWarmup(steps=4, start_factor=0.2)])
    assert [rate(step) for step in range(5)] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])


def test_the_first_step_after_the_warmup_is_the_decays():
    """Where the decay begins below the base rate, a warm-up that is one step too long shows."""
    for warmup in (LinearWarmup(epochs=1), LinearWarmup(steps=10), ExpWarmup(epochs=1)):
        rate = rates([PiecewiseDecay(gamma=0.5, milestones=[1]), warmup], base_lr=1.0)
        assert rate(9) == pytest.approx(warmup.factor(0.9))
        assert [rate(10), rate(11)] == pytest.approx([0.5, 0.5])
    absolute = rates([PiecewiseDecay(values=[0.2, 0.1], milestones=[5]), LinearWarmup(steps=4)], base_lr=1.0)
    assert [absolute(4), absolute(5)] == pytest.approx([0.2, 0.2])


def test_milestones_count_epochs_and_a_single_gamma_is_divided_by_ten_each_time():
    rate = rates([PiecewiseDecay(gamma=0.5, milestones=[2, 3]), LinearWarmup(steps=4)])
    assert [rate(step) for step in (4, 19, 20, 29, 30, 99)] == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.005, 0.005])


def test_gammas_and_values_of_a_list_are_taken_as_they_are():
    assert rates([PiecewiseDecay(gamma=[0.3, 0.2], milestones=[1, 2])])(15) == pytest.approx(0.03)
    assert rates([PiecewiseDecay(values=[1.0, 2.0], milestones=[1])])(10) == 2.0


@pytest.mark.parametrize(("step", "expected"), [(10, 1.0), (25, 0.5), (40, 0.0), (99, 0.0)])
def test_cosine_begins_after_the_warmup_and_stays_at_its_end(step, expected):
    rate = rates([CosineDecay(max_epochs=4), LinearWarmup(epochs=1, steps=3)], base_lr=1.0)
    assert rate(step) == pytest.approx(expected, abs=1e-12)


def test_cosine_with_a_floor_and_a_plateau():
    rate = rates([CosineDecay(max_epochs=6, min_lr_ratio=0.2, last_plateau_epochs=2, use_warmup=False)], base_lr=1.0)
    assert rate(10) == pytest.approx(0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert [rate(step) for step in (40, 59, 60)] == pytest.approx([0.2, 0.2, 0.2])


def test_a_decay_without_use_warmup_switches_the_warmup_off():
    rate = rates([PiecewiseDecay(milestones=[1, 2], use_warmup=False), LinearWarmup(steps=5, start_factor=0.0)])
    assert rate(0) == 0.1


def test_exponential_warmup():
    rate = rates([CosineDecay(max_epochs=4), ExpWarmup(epochs=1, power=2)], base_lr=1.0)
    assert [rate(0), rate(5), rate(10)] == pytest.approx([0.0, 0.25, 1.0])


@pytest.mark.parametrize("steps_per_epoch", [7, 100])
def test_equals_a_table_built_step_by_step_as_paddledetection_does(steps_per_epoch):
    """Boundaries and values looked up one after another, the way the schedule is written there."""
    base, warmup, epochs = 0.02, 12, 5
    values = [base * (0.1 * (1 - i / warmup) + i / warmup) for i in range(warmup)]
    total = epochs * steps_per_epoch
    values += [base * 0.5 * (math.cos((i - warmup) * math.pi / (total - warmup)) + 1) for i in range(warmup, total)]
    rate = rates([CosineDecay(max_epochs=epochs), LinearWarmup(start_factor=0.1, steps=warmup)], base, steps_per_epoch)
    assert [rate(step) for step in range(total)] == pytest.approx(values)


def test_defaults_are_paddledetections():
    rate = LearningRate().schedule(1000)
    assert [rate(0), rate(500), rate(8000), rate(11000)] == pytest.approx([0.01 / 3, 0.01, 0.001, 0.0001])


def test_two_decays_or_mismatched_milestones_are_refused():
    with pytest.raises(ConfigError, match="one decay"):
        LearningRate(schedulers=[CosineDecay(), PiecewiseDecay()])
    with pytest.raises(ConfigError, match="1 gamma do not fit 2 milestones"):
        PiecewiseDecay(gamma=[0.1], milestones=[1, 2])


def test_from_a_file_with_tags(tmp_path):
    file = tmp_path / "a.yml"
    file.write_text(
        "LearningRate:\n  base_lr: 0.4\n  schedulers:\n  - !PiecewiseDecay {gamma: 0.1, milestones: [3]}\n"
        "  - !LinearWarmup {start_factor: 0.5, steps: 2}\n"
    )
    rate = build_learning_rate(load_config(file)).schedule(4)
    assert [rate(step) for step in (0, 1, 2, 11, 12)] == pytest.approx([0.2, 0.3, 0.4, 0.4, 0.04])


def test_a_mistyped_setting_names_the_file_and_the_nearest_name(tmp_path):
    file = tmp_path / "a.yml"
    file.write_text("LearningRate:\n  schedulers:\n  - !CosineDecay {max_epoch: 3}\n")
    with pytest.raises(ConfigError, match=r"a\.yml:3.*max_epoch.*max_epochs"):
        build_learning_rate(load_config(file)).schedule(4)


def test_schedulers_that_are_no_list_are_refused(tmp_path):
    file = tmp_path / "c.yml"
    file.write_text("architecture: YOLOv3\nLearningRate:\n  base_lr: 0.1\n  schedulers: 3\n")
    with pytest.raises(ConfigError, match=r"c\.yml:4: LearningRate\.schedulers is 3, expected a list"):
        build_learning_rate(load_config(file)).schedule(4)


def test_the_rate_follows_the_batch_when_asked(caplog):
    rate = LearningRate(base_lr=0.01, base_batch_size=16, schedulers=[PiecewiseDecay(milestones=[1], gamma=0.1)])
    logging.getLogger("ppkd").propagate = True
    with caplog.at_level(logging.INFO, "ppkd"):
        scaled = rate.schedule(10, batch_size=4)
    assert "base_lr * batch / base_batch_size = 0.01 * 4 / 16 = 0.0025" in caplog.text
    assert (rate.schedule(10)(0), scaled(0), scaled(10)) == pytest.approx((0.01, 0.0025, 0.00025))


def test_what_cannot_follow_the_batch_is_refused():
    with pytest.raises(ConfigError, match=r"needs LearningRate\.base_batch_size"):
        LearningRate(schedulers=[PiecewiseDecay()]).schedule(10, batch_size=4)
    absolute = PiecewiseDecay(milestones=[1], values=[0.1, 0.01])
    with pytest.raises(ConfigError, match="absolute rates"):
        LearningRate(base_batch_size=16, schedulers=[absolute]).schedule(10, batch_size=4)
    with pytest.raises(ConfigError, match="base_batch_size is 0"):
        LearningRate(base_batch_size=0)
