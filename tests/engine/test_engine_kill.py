"""SIGKILL at any moment: what was finished before stays, and the run ends with the same bits."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from parallel_case import ROOT, YOLO, settings
from test_engine_resume import assert_same, everything

from ppkd.data.shapes import draw_shapes
from ppkd.engine.checkpoint_files import newest_complete

KILLS = int(os.environ.get("PPKD_KILLS", "5"))
BATCHES = 2
KILLER = Path(__file__).with_name("killer.py")


class Killer:
    """Runs of tools/train.py, one after another; see killer.py."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._process = subprocess.Popen(
            [sys.executable, str(KILLER), str(output)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )

    def run(self, arguments: list[str], seconds: float | None = None) -> tuple[int, float]:
        """Exit code, and duration from the first step; killed after ``seconds`` of it."""
        self._process.stdin.write(json.dumps([arguments, seconds]) + "\n")
        self._process.stdin.flush()
        code, took = json.loads(self._process.stdout.readline())
        assert code in (0, -9), self._output.read_text()[-3000:]
        return code, took

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)


@pytest.fixture
def killer(tmp_path):
    made = Killer(tmp_path / "output.txt")
    yield made
    made.close()


def rows(folder: Path) -> list[dict[str, str]]:
    """``results.csv`` without durations."""
    with (folder / "results.csv").open(newline="") as stream:
        return [{key: value for key, value in row.items() if key != "batch_cost"} for row in csv.DictReader(stream)]


def begun_next(checkpoint: dict) -> dict:
    """A position after the last batch of an epoch as the start of the next: a kill may come before that is recorded."""
    if checkpoint["/position/batch"] == BATCHES:
        checkpoint["/position/epoch"] += 1
        checkpoint["/position/batch"] = 0
    return checkpoint


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_moments_ends_with_the_same_bits(killer, tmp_path):
    """Averages, evaluation and the best model included; PPKD_KILLS=200 kills as often as that."""
    draw_shapes(tmp_path / "shapes", images_train=4, images_val=2, size=64, seed=1)
    epochs = max(KILLS // 2, 3)
    run = settings(tmp_path / "shapes", tmp_path, 2, f"epoch={epochs}", "snapshot_epoch=1", "use_ema=true")
    _, seconds = killer.run(["--eval", "-c", YOLO, *run, "filename=whole"])
    flags = ["--eval", "-c", YOLO, *run, "filename=parts"]
    chance, folder, kills, code = random.Random(0), tmp_path / "parts", 0, -9
    while code:
        resume = ["-r", str(folder)] if folder.is_dir() and newest_complete(folder) else []
        code, _ = killer.run([*flags, *resume], chance.uniform(0, 0.8 * seconds / epochs) if kills < KILLS else None)
        kills += code != 0
    assert kills >= KILLS / 2, kills
    print(f"{kills} kills survived")
    for name in ("model_final", "best_model"):
        assert_same(begun_next(everything(tmp_path / "whole", name)), begun_next(everything(folder, name)))
    assert (tmp_path / "whole" / "model_final.pdparams").read_bytes() == (folder / "model_final.pdparams").read_bytes()
    assert rows(tmp_path / "whole") == rows(folder)
    assert not [file.name for file in folder.iterdir() if file.name.startswith(".") or "previous" in file.name]
