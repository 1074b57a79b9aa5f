"""What pages are made of: each block has a template of its own below ``templates``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class Text:
    """A paragraph; ``warns`` sets it apart."""

    template: ClassVar[str] = "text.html"

    text: str
    warns: bool = False


@dataclass(frozen=True)
class Tile:
    """A figure in large letters: what it is, how much, and a remark."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    """Figures side by side."""

    template: ClassVar[str] = "tiles.html"

    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Cell:
    """A cell: its text; a number that it is sorted by, words have none; how much of the accent colour it has, 0..1."""

    text: str
    order: float | None = None
    shade: float = 0.0


@dataclass(frozen=True)
class Table:
    """A table that a click on a heading sorts, unless it is not ``sortable``; numbers are aligned right."""

    template: ClassVar[str] = "table.html"

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    sortable: bool = True


@dataclass(frozen=True)
class Plot:
    """Plots side by side, each an ``<svg>`` of :func:`ppkd.report.svg.inline`."""

    template: ClassVar[str] = "plot.html"

    svgs: Sequence[str]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture: its address, a ``data:`` one, size in pixels, what it shows."""

    address: str
    width: int
    height: int
    caption: str


@dataclass(frozen=True)
class Pictures:
    """Rows of pictures, each with a title; ``key`` explains colours: (CSS colour, text)."""

    template: ClassVar[str] = "pictures.html"

    rows: Sequence[tuple[str, Sequence[Picture]]]
    caption: str = ""
    key: Sequence[tuple[str, str]] = ()


Block = Text | Tiles | Table | Plot | Pictures


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading, to which the contents lead."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """A page: its heading, a line below it, its sections."""

    title: str
    subtitle: str
    sections: Sequence[Section]
