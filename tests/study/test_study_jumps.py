"""Losses that jump and stay up, and those that only look like it."""

from __future__ import annotations

import numpy as np
import pytest

from ppkd.study.jumps import jumped, run_jumped, task_losses

READINGS = 32
"""Of a run of 576 steps, logged every 20 steps and at the start of each of 16 epochs."""


def decline(seed=0, noise=0.02, last=0.35):
    """The median loss over 20 steps of an ordinary training: steep, then slow."""
    steps = np.arange(READINGS)
    return (last + 0.9 * np.exp(-steps / 3) + noise * np.random.default_rng(seed).standard_normal(READINGS)).tolist()


def jump(seed=0, at=6, level=0.94, falls=0.01):
    """A training whose loss is 0.46 before reading ``at`` (step 100) and ``level`` from there on, slowly falling."""
    losses = np.array(decline(seed))
    losses[:at] += 0.46 - losses[at - 1]
    noise = 0.02 * np.random.default_rng(seed + 1).standard_normal(READINGS - at)
    losses[at:] = level - falls * np.arange(READINGS - at) + noise
    return losses.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_doubles_and_never_comes_down_again_jumped(seed):
    assert jumped(jump(seed))
    assert jumped(jump(seed, at=20))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("noise", [0.005, 0.02, 0.1])
def test_an_ordinary_noisy_decline_is_no_jump(seed, noise):
    assert not jumped(decline(seed, noise))


@pytest.mark.parametrize("seed", range(20))
def test_noise_around_a_plateau_is_no_jump(seed):
    assert not jumped((0.5 + 0.05 * np.random.default_rng(seed).standard_normal(200)).tolist())


def test_a_jump_from_which_it_recovers_is_none():
    assert not jumped(jump(falls=0.03))
    losses = decline()
    losses[10:12] = [2.0, 1.5]
    assert not jumped(losses)


def test_a_slow_rise_of_a_few_percent_is_no_jump():
    """A student that follows its teacher gives up some of its own loss."""
    assert not jumped(np.concatenate([decline(noise=0.001), np.linspace(0.35, 0.4, 30)]).tolist())


def test_a_single_reading_and_too_few_tell_nothing():
    assert not jumped([0.4, 0.4, 0.4, 0.4, 0.4, 0.9])
    assert not jumped([0.4, 0.9, 0.9])
    assert not jumped([])


LINE = (
    "[11/21 10:00:00] ppkd.engine INFO: Epoch: [{}] [{:3d}/100] learning_rate: 0.001000 loss_cls: {:.6f} "
    "loss_bbox: 0.200000 fgd: 1.500000 loss: 9.000000 eta: 0:00:10 batch_cost: 0.1 data_cost: 0.0 ips: 80 images/s\n"
)


def test_the_loss_of_the_task_is_read_from_the_log_without_what_is_distilled():
    log = LINE.format(0, 0, 1.0) + "another line\n" + LINE.format(0, 20, 0.5) + LINE.format(1, 0, 0.4)
    assert task_losses(log, ["fgd"]) == pytest.approx([1.2, 0.7, 0.6])
    resumed = log + LINE.format(0, 20, 0.3)
    assert task_losses(resumed, ["fgd"]) == pytest.approx([1.2, 0.5, 0.6])


def test_a_run_is_judged_by_its_log_and_its_slim_file(tmp_path):
    assert run_jumped(tmp_path) is None
    (tmp_path / "slim.yml").write_text("slim: Distill\nlosses: {fgd: {type: FGD}}\n")
    (tmp_path / "train.log").write_text("".join(LINE.format(i, 0, loss) for i, loss in enumerate(jump())))
    assert run_jumped(tmp_path)
    (tmp_path / "train.log").write_text("".join(LINE.format(i, 0, loss) for i, loss in enumerate(decline())))
    assert run_jumped(tmp_path) is False
