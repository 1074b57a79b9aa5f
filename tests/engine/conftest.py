from __future__ import annotations

import logging

import pytest
from rounding import rounded

from ppkd.engine import environment


@pytest.fixture(autouse=True)
def _logger_at_info(logger_of_a_test):
    logger_of_a_test.setLevel(logging.INFO)


@pytest.fixture
def rounding():
    """Automatic casting rounds, which on this machine's CPU would do nothing."""
    with rounded() as made:
        yield made


@pytest.fixture
def as_on_a_gpu(rounding, monkeypatch):
    """Runs believe that they compute on a GPU, so that ``--amp`` has an effect."""
    monkeypatch.setattr(environment, "choose_device", lambda use_gpu, *, tf32: True)
