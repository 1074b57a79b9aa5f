from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from ppkd.config.registry import names


@pytest.fixture(scope="session", autouse=True)
def _imported() -> None:
    """What the first example would import counts for no example's time."""
    importlib.import_module("faster_coco_eval")
    assert names()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every example replaces the files of the one before."""
    return tmp_path_factory.mktemp("fuzz")
