"""Shared by all tests: process settings before Paddle is imported, the folders of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppkd.utils.runtime import prepare

prepare()

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
