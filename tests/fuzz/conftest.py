from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every example replaces the files of the one before."""
    return tmp_path_factory.mktemp("fuzz")
