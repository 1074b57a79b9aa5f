"""The quickstart in its reduced form: every command that it prints works."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_reduced_quickstart_leaves_models_pictures_and_a_table(root, tmp_path):
    command = ["tools/quickstart.py", "--reduced", "--output", str(tmp_path), "--data", str(tmp_path / "shapes")]
    done = subprocess.run(
        [sys.executable, *command], cwd=root, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("\n$ python -m ppkd ") == 11
    for run in ("teacher", "student", "distilled"):
        assert (tmp_path / run / "best_model.pdparams").is_file()
        assert (tmp_path / "inference" / run / "model.json").is_file()
    assert len(list((tmp_path / "pictures").glob("*.jpg"))) == 8
    table = (tmp_path / "summary.md").read_text().splitlines()
    assert table[0].startswith("| run | AP | AP50 | AP75 | parameters | GFLOPs | CPU ms |")
    assert [row.split(" | ")[0] for row in table[2:]] == ["| teacher", "| student alone", "| student distilled"]
    assert "-" not in [cell.strip() for row in table[2:] for cell in row.split("|")]
