"""The page about a study: the tables of its report, the gains with their intervals, curves of its runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppkd.engine.hooks.results import FILE_NAME
from ppkd.report.blocks import Block, Cell, Page, Plot, Section, Table, Text
from ppkd.report.curves import EPOCH, finite_points, read_results
from ppkd.report.plots import Panel, intervals, panels
from ppkd.study.gains import Gain
from ppkd.study.outcome import Row, headings
from ppkd.study.table import NOTHING, Grid

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@dataclass(frozen=True)
class Comparison:
    """What the report of a comparison says: tables, gains by method, and remarks on either table."""

    title: str
    headline: str
    table: Grid
    gains: Mapping[str, Gain]
    seeds: Grid
    legend: Sequence[str]
    of_seeds: Sequence[str]


def links_page(title: str, table: Grid, rows: Sequence[Row], folder: Path) -> Page:
    """The page about detectors that are not compared with each other, a chain's links."""
    figures = Section("Figures", [_table(table), Text("Figures in percent.")])
    return Page(title, "a chain of teachers", [figures, *_curves(rows, folder)])


def comparison_page(said: Comparison, rows: Sequence[Row], folder: Path) -> Page:
    """The page about a comparison; ``rows`` are those of its table."""
    blocks: list[Block] = [_table(said.table), *map(Text, said.legend)]
    if said.gains:
        values = {name: (gain.mean, gain.half_width, gain.values) for name, gain in said.gains.items()}
        blocks.append(
            intervals(values, "Gains with their intervals, a ring for each seed.", f"points of {said.headline}")
        )
    seeds = Section("Every seed", [_table(said.seeds), *(Text(text) for text in said.of_seeds if text)])
    return Page(said.title, "a comparison of methods", [Section("Figures", blocks), seeds, *_curves(rows, folder)])


def _table(grid: Grid) -> Table:
    columns = [_column(cells) for cells in zip(*grid.cells, strict=True)]
    return Table(grid.head, list(zip(*columns, strict=True)))


def _column(texts: Sequence[str]) -> list[Cell]:
    """Sorted by the numbers that its cells begin with, dashes below all of them, unless there are words."""
    numbers = [_NUMBER.match(text) for text in texts]
    if any(found is None and text != NOTHING for found, text in zip(numbers, texts, strict=True)):
        return [Cell(text) for text in texts]
    return [Cell(text, float(found[0]) if found else -1e9) for found, text in zip(numbers, texts, strict=True)]


def _curves(rows: Sequence[Row], folder: Path) -> list[Section]:
    """The total loss and the headline over the epochs, of the first run of each row that was trained here."""
    files = {row.name: folder / row.outcomes[0].trial.run.name / FILE_NAME for row in rows}
    results = {name: read_results(file) for name, file in files.items() if file.is_file()}
    drawn = []
    for column in ("loss", headings(rows)[0]):
        lines = {
            name: finite_points([epoch + 1 for epoch in own[EPOCH]], own[column])
            for name, own in results.items()
            if column in own
        }
        if lines:
            drawn.append(Panel(column, lines, "epoch"))
    plot: list[Plot] = [panels(drawn, "The first run of each row.")] if drawn else []
    return [Section("Training", plot)] if plot else []
