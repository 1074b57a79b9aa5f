"""TF32: a setting that reaches Paddle's switches where there is a GPU, and the log."""

from __future__ import annotations

import logging

import pytest
from paddle.base import core

from ppkd.config import load_config, runtime
from ppkd.engine import environment

CONFIG = "configs/shapes/gfl_r18_160_shapes.yml"


@pytest.fixture
def switches(monkeypatch):
    """What Paddle's switches were set to; the environment says nothing, and is as before afterwards."""
    monkeypatch.setenv(environment.TF32, "")
    monkeypatch.delenv(environment.TF32)
    found = {}
    for name in ("cublas", "cudnn"):
        monkeypatch.setattr(core, f"set_{name}_switch", lambda value, name=name: found.update({name: value}))
    return found


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(environment.paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(environment.paddle.device.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(environment.paddle, "set_device", lambda name: None)


@pytest.mark.parametrize(("chosen", "words"), [(False, "TF32: off (tf32: false)"), (True, "TF32: on (tf32: true)")])
def test_the_choice_reaches_the_switches_of_a_gpu(switches, gpu, caplog, chosen, words):
    with caplog.at_level(logging.INFO, logger="ppkd"):
        assert environment.choose_device(True, tf32=chosen)
    assert switches == {"cublas": chosen, "cudnn": chosen}
    assert environment.os.environ[environment.TF32] == str(int(chosen))
    assert words in caplog.text


def test_a_choice_in_the_environment_stays(switches, gpu, caplog, monkeypatch):
    monkeypatch.setenv(environment.TF32, "1")
    with caplog.at_level(logging.INFO, logger="ppkd"):
        environment.choose_device(True, tf32=False)
    assert not switches and "decided already by NVIDIA_TF32_OVERRIDE=1" in caplog.text


def test_nothing_is_set_without_a_gpu(switches, caplog):
    with caplog.at_level(logging.INFO, logger="ppkd"):
        assert not environment.choose_device(False, tf32=True)
    assert not switches and environment.TF32 not in environment.os.environ and "TF32" not in caplog.text


def test_float32_is_float32_unless_a_configuration_says_otherwise():
    assert runtime(load_config(CONFIG)).tf32 is False
    assert runtime(load_config(CONFIG, ["tf32=true"])).tf32 is True
