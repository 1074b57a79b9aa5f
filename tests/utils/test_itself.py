"""Command lines of ppkd itself, as they are run and as they are shown to the user."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ppkd.engine.hooks.interrupt import continue_command
from ppkd.engine.non_finite import repeat_command
from ppkd.utils import itself

FLAGS = ["-c", "a b.yml", "-r", "old", "--eval"]
PYTHON = Path(sys.executable).name
MAIN = str(itself.PACKAGE / "__main__.py")
STARTS = [
    (["tools/train.py"], f"{PYTHON} tools/train.py"),
    (["/venv/bin/ppkd", "train"], "/venv/bin/ppkd train"),
    ([MAIN, "train"], f"{PYTHON} -m ppkd train"),
]


@pytest.mark.parametrize(("start", "shown"), STARTS)
def test_a_training_goes_on_with_the_command_that_started_it(start: list[str], shown: str) -> None:
    command = continue_command(Path("out/interrupted"), [*start, *FLAGS])
    assert command == f"{shown} -c 'a b.yml' --eval -r out/interrupted"
    assert repeat_command(Path("b.npz"), [*start, *FLAGS]).startswith(f"{shown} -c 'a b.yml' -r old --eval --dry_run")


def test_several_processes_go_on_with_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    launch = f"{PYTHON} -m paddle.distributed.launch --nproc_per_node 2"
    for start in (["tools/train.py"], ["/venv/bin/ppkd", "train"]):
        command = continue_command(Path("out/interrupted"), [*start, *FLAGS])
        assert command == f"{launch} {shlex.join(start)} -c 'a b.yml' --eval -r out/interrupted"


def test_a_training_started_from_python_is_told_both_ways() -> None:
    for argv in (["notebook.py"], ["/venv/bin/ppkd", "eval"]):
        assert continue_command(Path("out"), argv) == "resume=out in ppkd.TrainOptions, or `ppkd train` with -r out"


def test_a_process_of_its_own_is_this_very_ppkd(tmp_path: Path, root: Path) -> None:
    (tmp_path / "ppkd").mkdir()
    environment = itself.environment({"PLACE": "here"})
    assert environment["PLACE"] == "here"
    command = itself.command_line("doctor")
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"configurations in {root}\n" in done.stdout
    assert itself.shown("eval", "-c", "a b") == "python -m ppkd eval -c 'a b'"
