from __future__ import annotations

import logging

import pytest


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
