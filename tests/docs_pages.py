"""The pages of the documentation, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHELL = ("bash", "shell", "sh")


@dataclass(frozen=True)
class Line:
    """A command as a page shows it: the page's name, and its words without those of a pipe behind it."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def pages(root: Path) -> list[Path]:
    """Every page for users."""
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks of these languages, dedented."""
    found = re.findall(r"^( *)```(\w+)\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, name, block in found if name in languages]


def commands(root: Path) -> Iterator[Line]:
    """All commands of all pages; variables that a block sets are filled in, comments left out."""
    for page in pages(root):
        for block in blocks(page.read_text(encoding="utf-8"), *SHELL):
            variables: dict[str, str] = {}
            for line in block.replace("\\\n", " ").splitlines():
                if words := _words(line, variables):
                    yield Line(page.relative_to(root).as_posix(), words)


def _words(line: str, variables: dict[str, str]) -> tuple[str, ...]:
    """The words of a line without assignments, which go to ``variables``; optional ones lose their brackets."""
    filled = re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda name: variables.get(name[1] or name[2], name[0]), line)
    filled = re.sub(r"\[(-[^\[\]]*(?:\[[^\]]*\][^\[\]]*)*)\]", r"\1", filled)
    words = shlex.split(filled, comments=True)
    if words[:1] == ["export"]:
        words = words[1:]
    while words and (set_here := re.fullmatch(r"([A-Z]\w*)=(.*)", words[0], re.DOTALL)):
        variables[set_here[1]] = set_here[2]
        words = words[1:]
    return tuple(words)
