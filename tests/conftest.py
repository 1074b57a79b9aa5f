"""Shared by all tests: process settings before Paddle is imported, the folders of the repository."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ppkds_logger_kept
from hypothesis import HealthCheck, settings

from ppkd.utils.runtime import prepare

prepare()

FEW, MANY = 40, 5000
settings.register_profile("ci", max_examples=FEW, derandomize=True, deadline=10_000, suppress_health_check=HealthCheck)
settings.register_profile("long", max_examples=MANY, deadline=10_000, suppress_health_check=HealthCheck)
settings.load_profile("ci")

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the clone."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that need it are skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"needs the real images in {REAL_DATA.relative_to(ROOT.parent)} beside the clone")
    return REAL_DATA


@pytest.fixture(scope="module")
def logger_as_before() -> Iterator[None]:
    """The next module gets ppkd's logger as it was."""
    with ppkds_logger_kept():
        yield


@pytest.fixture
def logger_of_a_test() -> Iterator[logging.Logger]:
    """The next test gets ppkd's logger as it was."""
    with ppkds_logger_kept() as logger:
        yield logger


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plug-ins that a test names are offered to that test alone."""
    monkeypatch.setattr("ppkd.config.plugins._offered", {})
    monkeypatch.setattr("ppkd.config.plugins._failures", {})
