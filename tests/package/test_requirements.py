"""The files that name packages agree: each pin stands once, and the Paddle for GPUs is the one for CPUs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from ppkd.cli import OLDEST
from ppkd.utils.installation import PINS, requirements


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def test_every_pin_stands_in_one_file(root: Path) -> None:
    named = [re.split("==", line)[0] for path in root.glob("requirements*.txt") for line in lines(path) if "==" in line]
    assert sorted(named) == sorted(set(named))


def test_the_package_depends_on_what_a_clone_installs(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": list(PINS)}
    assert lines(root / "requirements.txt") == [f"-r {name}" for name in PINS]
    assert project["project"]["requires-python"].startswith(f">={OLDEST[0]}.{OLDEST[1]},")


def test_a_gpu_gets_the_same_paddle_and_the_same_rest(root: Path) -> None:
    paddle = f"paddlepaddle-gpu=={requirements()['paddlepaddle']}"
    assert lines(root / "requirements-gpu.txt") == [paddle, f"-r {PINS[1]}"]
