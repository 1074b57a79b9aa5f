"""What docs/tables.md has of a method."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from docs.hooks.markdown import table

PAGE = Path(__file__).resolve().parents[1] / "tables.md"
ALONE = ("student alone", "baseline")
"""How the page calls the rows that a method is compared with."""


def measured(method: str) -> str:
    """The rows of docs/tables.md about a method, in each of its tables below the student alone."""
    found = []
    for title, heading, rows in _tables():
        if chosen := [row for row in rows if re.search(rf"\b{method}\b", row[0])]:
            alone = [row for row in rows if row[0] in ALONE]
            found.append(f"*{title}*\n\n{table(heading, _linked_from_here(alone + chosen))}")
    if not found:
        return "Nothing has been measured here."
    said = "Which of these intervals exclude 0, and what holds on another machine, is said [there](../tables.md)."
    return "\n".join([f"From [Methods compared](../tables.md), figures in percent. {said}\n", *found])


@cache
def _tables() -> list[tuple[str, list[str], list[list[str]]]]:
    """The tables of methods in docs/tables.md: under which titles, heading, rows."""
    found: list[tuple[str, list[str], list[list[str]]]] = []
    titles: dict[int, str] = {}
    before = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if title := re.match(r"(#+) (.*)", line):
            above = {level: text for level, text in titles.items() if level < len(title[1])}
            titles = {**above, len(title[1]): title[2]}
        elif line.startswith("| method") and not before.startswith("|"):
            found.append((", ".join(text for level, text in titles.items() if level > 1), cells, []))
        elif line.startswith("|") and found and not cells[0].startswith("---") and before.startswith("|"):
            found[-1][2].append(cells)
        before = line
    return found


def _linked_from_here(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    """The rows with links that lead from a folder below docs/."""
    return [[cell.replace("](../", "](../../") for cell in row] for row in rows]
