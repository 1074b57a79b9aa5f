"""The table of runs: units, missing figures, markdown that renders."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from ppkd.report.summary import RunSummary, markdown, table

RUNS = [
    RunSummary("teacher", 0.4567, 0.7, 0.5, 24_436_406, 12.345, 98.76, Path("output/teacher")),
    RunSummary("student|kd", ap=0.25),
]


def test_markdown() -> None:
    lines = markdown(RUNS).splitlines()
    assert lines[0] == "| run | AP | AP50 | AP75 | parameters | GFLOPs | CPU ms | files |"
    assert lines[2] == "| teacher | 45.7 | 70.0 | 50.0 | 24.44 M | 12.35 | 98.8 | output/teacher |"
    assert lines[3] == "| student\\|kd | 25.0 | - | - | - | - | - | - |"
    assert {line.replace("\\|", "").count("|") for line in lines} == {9}


def test_rich_table_keeps_every_figure_and_path() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(table(RUNS, title="[runs]"))
    text = out.getvalue()
    for wanted in ("45.7", "24.44 M", "12.35", "98.8", "output/teacher", "student|kd"):
        assert wanted in text
