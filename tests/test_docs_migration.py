"""What the migration page shows is true of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ppkd.config import load_config
from ppkd.distill.build import check_slim
from ppkd.distill.paddledetection import FORMULAS, METHODS, own_form


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/migration.md").read_text(encoding="utf-8")


def test_both_slim_files_of_the_page_are_valid_and_mean_the_same(
    page: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    theirs, ours = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    forms = []
    for name, text in (("theirs", theirs.replace("'../../gfl", f"'{root}/configs/gfl")), ("ours", ours)):
        (tmp_path / f"{name}.yml").write_text(text, encoding="utf-8")
        slim = load_config(tmp_path / f"{name}.yml")
        check_slim(slim)
        forms.append(own_form(slim))
    assert forms[0].at("teacher.weights") == forms[1].at("teacher.weights")
    (loss,) = forms[1].at("losses").to_dict().values()
    assert list(forms[0].at("losses").to_dict().values()) == [loss] * 5


def test_every_translated_name_is_on_the_page(page: str) -> None:
    assert all(f"`{name}`" in page or f": {name}`" in page for name in (*FORMULAS, *METHODS))


@pytest.mark.parametrize("tool", ["tools/train.py", "tools/eval.py", "tools/infer.py", "tools/export_model.py"])
def test_every_flag_of_the_page_is_one_of_the_tool(page: str, root: Path, tool: str) -> None:
    (row,) = re.findall(rf"^\| `{tool}` (.*) \| the same", page, re.MULTILINE)
    shown = subprocess.run(
        [sys.executable, tool, "--help"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    flags = re.findall(r"`(-[\w-]+)`", row)
    assert flags
    assert [flag for flag in flags if not re.search(rf"(^|[\s\[,]){flag}\b", shown)] == []
