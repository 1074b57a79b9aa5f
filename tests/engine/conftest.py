from __future__ import annotations

import logging

import pytest
from rounding import rounded

from ppkd.engine import environment


@pytest.fixture(autouse=True)
def _logger_as_before():
    """Runs configure ppkd's logger; the next test gets it as it was."""
    root = logging.getLogger("ppkd")
    before = (root.level, root.propagate, list(root.handlers))
    root.setLevel(logging.INFO)
    yield
    root.setLevel(before[0])
    root.propagate = before[1]
    root.handlers[:] = before[2]


@pytest.fixture
def rounding():
    """Automatic casting rounds, which on this machine's CPU would do nothing."""
    with rounded() as made:
        yield made


@pytest.fixture
def as_on_a_gpu(rounding, monkeypatch):
    """Runs believe that they compute on a GPU, so that ``--amp`` has an effect."""
    monkeypatch.setattr(environment, "choose_device", lambda use_gpu, *, tf32: True)
