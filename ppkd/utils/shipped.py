"""The configurations that ppkd brings: ``configs`` of detectors, ``slim`` of distillation."""

from __future__ import annotations

from pathlib import Path

SUFFIX = ".yml"
FOLDERS = ("configs", "slim")


def home() -> Path:
    """The folder with the shipped ``configs`` and ``slim``: the package where it is installed, or the clone's root."""
    package = Path(__file__).resolve().parents[1]
    return package if (package / FOLDERS[0]).is_dir() else package.parent


def shipped() -> list[Path]:
    """All configurations that ppkd brings, also the parts of them in ``_base_``, sorted."""
    return sorted(path for folder in FOLDERS for path in (home() / folder).rglob(f"*{SUFFIX}"))
